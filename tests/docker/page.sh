#!/usr/bin/env bash
# docs/operations.md, typed: what it says about images, with a registry of our own (Debian's docker-registry) and podman as docker.
#   page.sh DIR        after images.sh with the same DIR
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
engine_dir=${1:?folder for the engine} page=docs/operations.md
. tests/docker/engine.sh
. tests/cluster/tools.sh
. tests/support/page.sh
[ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] || { echo "page: skipped, it needs root on Debian"; exit 77; }
say() { printf 'page: %s\n' "$*"; }
die() { say "FAIL $*"; exit 1; }
engine_setup "$engine_dir"
command -v docker-registry >/dev/null || apt-get install -y -qq --no-install-recommends docker-registry >"$engine_dir/apt.log" 2>&1 ||
  { say "skipped: no docker-registry could be installed"; exit 77; }
tmp=$(mktemp -d)
registry=''
cleanup() {
  local rc=$?
  trap - EXIT
  [ -z "$registry" ] || { kill "$registry"; wait "$registry" || :; } 2>/dev/null
  podman images --format '{{.Repository}}:{{.Tag}}' | grep "^$REGISTRY/\|^$INNER_REGISTRY/" | xargs -r podman rmi -f >/dev/null 2>&1 || :
  rm -rf "$tmp"
  exit $rc
}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export REGISTRY=127.0.0.1:$port/plant INNER_REGISTRY=127.0.0.1:$port/inner
trap cleanup EXIT
cat >"$tmp/registry.yml" <<EOT
version: 0.1
storage: {filesystem: {rootdirectory: $tmp/registry}}
http: {addr: "127.0.0.1:$port"}
EOT
docker-registry serve "$tmp/registry.yml" >"$tmp/registry.log" 2>&1 &
registry=$!
for _ in {1..100}; do curl -sf -o /dev/null "http://127.0.0.1:$port/v2/" && break || sleep 0.1; done
docker() {
  case $1 in
    build) shift; engine_bud "$@" >"$engine_dir/build-page.log" 2>&1 || { tail -n 20 "$engine_dir/build-page.log"; return 1; } ;;
    push) podman push -q --tls-verify=false "$2" ;;
    save) podman save -q -m "${@:2}" ;;
    load) podman load -q "${@:2}" ;;
    *) podman "$@" ;;
  esac
}
export engine_dir
export -f docker engine_bud
PATH=$KUBE_BIN:$PATH
command -v helm >/dev/null || { say "skipped: helm is not here (./run test --cluster installs it where Go is)"; exit 77; }
cat >"$tmp/values.yaml" <<EOT
redis: {url: "redis://redis.example.com"}
scheduler: {image: {repository: $INNER_REGISTRY/mffa-scheduler}}
workerDefaults: {image: {repository: $INNER_REGISTRY/mffa-worker-cpu}}
EOT
types() { # HEADING N; a helm from `go install` knows no version of Kubernetes
  local commands
  commands=$(page_commands "$page" "$1" "$2" | sed "s#mffa-images.tar#$tmp/&#; s#helm package helm/mffa#& --destination $tmp#; s#mffa-0.1.0.tgz#$tmp/&#; s#values.yaml#$tmp/&#; s#helm template#& --kube-version 1.33.0#")
  [ -n "$commands" ] || die "there is no block $2 below \"$1\""
  bash -euo pipefail -c "$commands" >"$tmp/out" 2>&1 || { tail -n 30 "$tmp/out"; die "$1: $commands"; }
  say "ok   $1: $(grep -c . <<<"$commands") lines"
}
types Images 1
types 'Without the internet' 1
say "     three images in one file: $(($(stat -c %s "$tmp/mffa-images.tar") / 1000000)) MB"
types 'Without the internet' 2
for image in scheduler worker-cpu tools; do
  curl -sf "http://127.0.0.1:$port/v2/inner/mffa-$image/manifests/0.1.0" -o /dev/null || die "mffa-$image is not in the inner registry"
done
say "all passed"
