# helm and a Kubernetes control plane from the Go module proxy, built once into the user's cache. Sourced; needs bash.
# shellcheck shell=bash
cluster_cache=${XDG_CACHE_HOME:-$HOME/.cache}/mffa/kube
export KUBE_BIN=$cluster_cache/bin KUBE_SRC=$cluster_cache/src GOTOOLCHAIN=local
helm_version=v3.18.6

cluster_has_go() { # the version that the API server's own module asks for
  command -v go >/dev/null && [[ $(go env GOVERSION) =~ ^go1\.([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 26 ]
}

cluster_tools() {
  mkdir -p "$KUBE_BIN"
  [ -x "$KUBE_BIN/helm" ] || GOBIN=$KUBE_BIN CGO_ENABLED=0 go install helm.sh/helm/v3/cmd/helm@$helm_version
  [ -e "$KUBE_BIN/kwok-stages.yaml" ] && [ -x "$KUBE_BIN/kube-scheduler" ] && [ -x "$KUBE_BIN/kwok" ] || tests/cluster/build.sh
  export PATH=$KUBE_BIN:$PATH
}
