# helm and a Kubernetes control plane from the Go module proxy, built once into the user's cache. Sourced; needs bash.
# shellcheck shell=bash
cluster_cache=${XDG_CACHE_HOME:-$HOME/.cache}/mffa/kube
export KUBE_BIN=$cluster_cache/bin KUBE_SRC=$cluster_cache/src GOTOOLCHAIN=local
helm_version=v3.18.6 keda_version=v2.17.2

cluster_has_go() { # the version that the API server's own module asks for
  command -v go >/dev/null && [[ $(go env GOVERSION) =~ ^go1\.([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 26 ]
}

cluster_tools() {
  mkdir -p "$KUBE_BIN"
  [ -x "$KUBE_BIN/helm" ] || GOBIN=$KUBE_BIN CGO_ENABLED=0 go install helm.sh/helm/v3/cmd/helm@$helm_version
  [ -e "$KUBE_BIN/kwok-stages.yaml" ] && [ -x "$KUBE_BIN/kube-scheduler" ] && [ -x "$KUBE_BIN/kwok" ] || tests/cluster/build.sh
  export PATH=$KUBE_BIN:$PATH
}

keda_tools() { # KEDA's programs; called after cluster_tools
  [ -x "$KUBE_BIN/keda-adapter" ] || tests/cluster/build_keda.sh $keda_version
}

definitions() { # MODULE@VERSION FILES...: other people's kinds, out of their Go modules
  local dir file
  dir=$(GOFLAGS=-mod=mod go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)",*$/\1/p')
  shift
  for file in "$@"; do kubectl create -f "$dir/$file"; done
}
keda_definitions() {
  local kinds='scaledobjects scaledjobs triggerauthentications clustertriggerauthentications' files=()
  for kind in $kinds; do files+=(config/crd/bases/keda.sh_$kind.yaml); done
  for kind in cloudeventsources clustercloudeventsources; do files+=(config/crd/bases/eventing.keda.sh_$kind.yaml); done
  definitions github.com/kedacore/keda/v2@$keda_version "${files[@]}"
}
