#!/usr/bin/env bash
# docker/compose.yaml as it is, by podman-compose, with the commands of its first lines typed. Where Redis' and the S3 server's images cannot
# be pulled, ours stand in under their names: Debian's redis-server, the same version of versitygw.
#   compose.sh DIR PODMAN_COMPOSE        after images.sh with the same DIR
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
engine_dir=${1:?folder for the engine} compose=${2:?the program podman-compose}
. tests/docker/engine.sh
[ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] || { echo "compose: skipped, it needs root on Debian"; exit 77; }
say() { printf 'compose: %s\n' "$*"; }
die() { say "$*"; exit 1; }
engine_setup "$engine_dir"
tmp=$(mktemp -d)
data=$tmp/data
mkdir "$data" && chown 10001 "$data" && chmod 755 "$tmp"
dc() { MFFA_DATA=$data "$compose" --in-pod false --profile tools -f docker/compose.yaml "$@" </dev/null; }
cleanup() {
  local rc=$?
  trap - EXIT
  [ $rc = 0 ] || for c in $(podman ps -aq --filter label=io.podman.compose.project=mffa); do podman logs "$c" 2>&1 | tail -n 6; done
  dc down -v -t 5 >/dev/null 2>&1 || :
  podman ps -aq --filter label=io.podman.compose.project=mffa | xargs -r podman rm -f -t 1 >/dev/null 2>&1 || :
  rm -rf "$tmp"
  exit $rc
}
trap cleanup EXIT

# ---- images of others ----
image_of() { sed -n "/^  $1:/,/image:/s/^ *image: //p" docker/compose.yaml; }
stand_in() { # NAME, with a Dockerfile on its standard input and a folder as context
  say "$1 cannot be pulled here: one of ours stands in"
  engine_bud -t "$1" -f - "$2" >"$engine_dir/build-stand-in.log" 2>&1 ||
    { tail -n 20 "$engine_dir/build-stand-in.log"; die "FAIL $1"; }
}
here() { podman image exists "$1" || timeout 60 podman pull -q "$1" >/dev/null 2>&1; }
debian="FROM $base_image
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
redis=$(image_of redis) s3=$(image_of s3)
mkdir "$tmp/context"
here "$redis" || printf '%s redis-server redis-tools\nWORKDIR /data\n' "$debian" | stand_in "$redis" "$tmp/context"
if ! here "$s3"; then
  tests/support/versitygw.sh start "$tmp/s3" >/dev/null || { say "skipped: neither $s3 nor Go is here"; exit 77; }
  tests/support/versitygw.sh stop "$tmp/s3"
  cp "${XDG_CACHE_HOME:-$HOME/.cache}/mffa/versitygw-${s3##*:}/versitygw" "$tmp/context/"
  printf '%s wget\nCOPY versitygw /usr/local/bin/\n' "$debian" | stand_in "$s3" "$tmp/context"
fi
for target in scheduler worker-cpu tools; do podman tag "localhost/mffa-$target:test" "localhost/mffa-$target:latest"; done

# ---- what its first lines say ----
healthy() { for _ in {1..120}; do podman healthcheck run "$1" >/dev/null 2>&1 && return; sleep 0.5; done; return 1; }
up() { # what `up --build --detach --wait` comes to here: built already, and without systemd nobody runs the health checks but us
  for service in redis s3 scheduler worker; do
    dc up --detach --no-build --no-deps $service >"$tmp/out" 2>&1 || { cat "$tmp/out"; die "FAIL up $service"; }
    healthy "mffa_${service}_1" || die "FAIL $service does not get healthy"
  done
}
ids='' typed=0
while IFS= read -r line <&3; do
  line=${line//ID.../$ids} line=${line//ID/${ids##* }}
  say "$line"
  case $line in
    'dc up '*) up ;;
    *mffa_submit*) ids=$(eval "${line/exec redis/exec -T redis}" | grep -oE '[a-z0-9]+-[0-9]+' | tr '\n' ' ') ids=${ids% } ;;
    *) eval "$line" >"$tmp/out" 2>&1 || { tail -n 20 "$tmp/out"; die "FAIL $line"; }
       say "  $(tail -n 1 "$tmp/out")" ;;
  esac
  typed=$((typed + 1))
done 3< <(sed -n 's/^#   \(dc .*[^ ]\)$/\1/p' docker/compose.yaml | sed 's/  *#.*//')
[ $typed = 8 ] || die "FAIL $typed commands were found in docker/compose.yaml, want 8"
[ -s "$data/result/report.html" ] || die "FAIL no report came"
say "all passed"
