#!/bin/sh
# Builds KEDA's operator and metrics server from the Go module proxy into $KUBE_BIN: keda-operator, keda-adapter.   build_keda.sh VERSION
# Its module is copied, since its "replace" lines hold in its own folder alone. Needs Go (tools.sh), 3 GB of module and build cache.
set -eu
KEDA=github.com/kedacore/keda/v2@$1 W=$KUBE_SRC/keda
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=mod
D=$(cd / && GOFLAGS= go mod download -json "$KEDA" | sed -n 's/.*"Dir": "\(.*\)",*$/\1/p')
rm -rf "$W"; mkdir -p "$W"
cp -R "$D/." "$W"; chmod -R u+w "$W"; rm -rf "$W/vendor" # which holds a list of modules alone
cd "$W"
for part in operator adapter; do
  nice -n 10 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$KUBE_BIN/keda-$part" "./cmd/$part"
done
rm -rf "$W"
