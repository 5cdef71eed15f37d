#!/bin/sh
# Builds kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, etcd and
# kwok from the Go module proxy into $KUBE_BIN.  Needs: go >= the "go" line of
# k8s.io/kubernetes' go.mod (1.26 for v1.36), ~1 GB of module cache and ~3 GB of build cache.
set -eu
V=${KUBE_VERSION:-v1.36.3}; KWOK=${KWOK_VERSION:-v0.8.0}
SV=v0.${V#v1.}; MINOR=${V#v1.}; MINOR=${MINOR%%.*}
KUBE_BIN=${KUBE_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/mffa/kube/bin}; W=${KUBE_SRC:-${XDG_CACHE_HOME:-$HOME/.cache}/mffa/kube/src}
export GOFLAGS=-mod=mod CGO_ENABLED=0 GOTOOLCHAIN=local
mkdir -p "$W/etcd" "$KUBE_BIN"; cd "$W"
D=$(cd / && GOFLAGS= go mod download -json "k8s.io/kubernetes@$V" | sed -n 's/.*"Dir": "\(.*\)",*$/\1/p')
{ echo "module kubetest"; grep '^go ' "$D/go.mod"; grep '^godebug' "$D/go.mod" || :
  # upstream's own requirements, the staging modules (v0.0.0 there) at the published version
  sed -n '/^require (/,/^)/p' "$D/go.mod" | sed "s/ v0\.0\.0\( \|\$\)/ $SV\1/"
  echo "require k8s.io/kubernetes $V"
  echo "require sigs.k8s.io/kwok $KWOK"
  echo "replace ("
  sed -n "s#^\t\(k8s.io/[a-z-]*\) => ./staging.*#\t\1 => \1 $SV#p" "$D/go.mod"
  echo ")"; } > go.mod
cp "$D/go.sum" go.sum
cat > etcd/main.go <<'GO'
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
GO
P=k8s.io/component-base/version
LD="-s -w -X $P.gitVersion=$V -X $P.gitMajor=1 -X $P.gitMinor=$MINOR -X $P.gitTreeState=clean -X $P.buildDate=1970-01-01T00:00:00Z"
nice -n 10 go build -trimpath -buildvcs=false -ldflags "$LD" -o "$KUBE_BIN/" ${KUBE_CMDS:-\
  k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager \
  k8s.io/kubernetes/cmd/kube-scheduler k8s.io/kubernetes/cmd/kubectl \
  sigs.k8s.io/kwok/cmd/kwok ./etcd}
# kwok's own stages (how a fake Pod goes Pending -> Running -> Succeeded)
K=$(go mod download -json sigs.k8s.io/kwok@$KWOK | sed -n 's/.*"Dir": "\(.*\)",*$/\1/p')
for f in node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease pod/fast/pod-ready pod/fast/pod-complete pod/fast/pod-delete; do
  echo ---; cat "$K/kustomize/stage/$f.yaml"; done > "$KUBE_BIN/kwok-stages.yaml"
