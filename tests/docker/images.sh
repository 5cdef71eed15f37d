#!/usr/bin/env bash
# Builds the images and runs them together as the chart would: numeric user, read-only root, no capabilities; Redis with a password, S3
# over TLS with an authority of its own, the sample job from end to end, health checks, TERM to PID 1.
#   images.sh DIR [targets...]      DIR: for the engine's state, kept; targets: scheduler tools worker-cpu. worker-cuda is looked at without a GPU
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] || { echo "images: skipped, building images needs root on Debian"; exit 77; }
engine_dir=${1:?folder for the engine} && shift
targets=("${@:-}")
[ -n "${targets[0]}" ] || targets=(scheduler tools worker-cpu)
. tests/docker/engine.sh
say() { printf 'images: %s\n' "$*"; }
die() { say "$*"; exit 1; }
expect() { local what=$1; shift; "$@" >"$tmp/out" 2>&1 && say "ok   $what" || { cat "$tmp/out"; die "FAIL $what"; }; }

tmp=$(mktemp -d)
redis='' s3=''
names=(mffa-test-scheduler-$$ mffa-test-worker-$$ mffa-test-other-user-$$)
cleanup() {
  local rc=$?
  trap - EXIT
  for name in "${names[@]}"; do
    podman container exists "$name" 2>/dev/null || continue
    [ $rc = 0 ] || podman logs "$name" 2>&1 | tail -n 15
    podman rm -f -t 1 "$name" >/dev/null 2>&1 || :
  done
  [ -z "$redis" ] || { kill "$redis"; wait "$redis" || :; } 2>/dev/null
  [ -z "$s3" ] || "tests/support/$s3.sh" stop "$tmp/$s3"
  # worker-cuda's layers are too large to keep: what was not here before goes
  [ ! -e "$tmp/before" ] || comm -13 "$tmp/before" <(podman images -aq | sort -u) | xargs -r podman rmi -f >/dev/null 2>&1 || :
  rm -rf "$tmp"
  exit $rc
}
trap cleanup EXIT
mkdir -p "$engine_dir"
why=$(engine_wanting "$engine_dir")
[ -z "$why" ] || { say "skipped: $why"; exit 77; }
engine_configure "$engine_dir"

quietly() { "$@" 2> >(grep -v "systemd connection" >&2 || :); } # this engine has no systemd for its timers: healthchecks are run by hand
image() { echo "localhost/mffa-$1:test"; }
inspect() { podman image inspect "$(image "$1")" --format "$2"; }
[[ " ${targets[*]} " != *" worker-cuda "* ]] || podman images -aq | sort -u >"$tmp/before"
for target in "${targets[@]}"; do
  began=$SECONDS
  engine_build "$target" "$(image "$target")" || die "FAIL building $target"
  say "built $target in $((SECONDS - began)) s, $(($(inspect "$target" '{{.Size}}') / 1000000)) MB"
done

# ---- what is in them ----
for target in "${targets[@]}"; do
  expect "$target: a numeric user that is not root" bash -c "[[ '$(inspect "$target" '{{.Config.User}}')' =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]]"
  expect "$target: version and commit in the labels" \
    bash -c "[[ '$(inspect "$target" '{{index .Labels "org.opencontainers.image.revision"}}')' =~ ^([0-9a-f]{40}|unknown)$ ]]"
  entry=$(inspect "$target" '{{json .Config.Entrypoint}}')
  expect "$target: the program is started without a shell" test "${entry#\[\"/usr/local/bin/}" != "$entry"
  expect "$target: every library is there, no compiler is" podman run --rm --user 0 --entrypoint sh "$(image "$target")" -c \
    '! command -v gcc && ! command -v pip && for p in /usr/local/bin/*; do ! ldd "$p" | grep "not found" || exit 1; done'
  program=${entry##*/} version=$(inspect "$target" '{{index .Labels "org.opencontainers.image.version"}}')
  expect "$target: it says the label's version" [ "$(quietly podman run --rm "$(image "$target")" --version)" = "${program%\"]} $version" ]
  expect "$target: no secret in its history and variables" bash -c \
    "! podman history --no-trunc '$(image "$target")' | grep -iE 'password=|secret=|token=' && ! podman image inspect '$(image "$target")' \
     --format '{{.Config.Env}}' | grep -iE 'password|secret|token|AWS_'"
done
[[ " ${targets[*]} " == *" scheduler "* ]] && expect "scheduler: below 100 MB" [ "$(inspect scheduler '{{.Size}}')" -lt 100000000 ]

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
redis_start() {
  port=$(free_port)
  password=$(head -c 18 /dev/urandom | base64)
  mkdir "$tmp/data" "$tmp/secret"
  printf '%s\n' "$password" >"$tmp/secret/redis-password"
  chown -R 10001:10001 "$tmp/data" "$tmp/secret" && chmod 755 "$tmp"
  redis-server --port "$port" --bind 127.0.0.1 --requirepass "$password" --dir "$tmp" --save '' --appendonly yes >"$tmp/redis.log" 2>&1 &
  redis=$!
  for _ in {1..100}; do cli ping >/dev/null 2>&1 && break || sleep 0.1; done
  strict=(--network host --read-only --cap-drop all --security-opt no-new-privileges --pids-limit 256 -v "$tmp/secret:/secret:ro"
    -e MFFA_REDIS_URL="redis://127.0.0.1:$port" -e MFFA_REDIS_PASSWORD_FILE=/secret/redis-password)
}
cli() { REDISCLI_AUTH=$password redis-cli -p "$port" "$@"; }
healthy() { for _ in {1..60}; do podman healthcheck run "$1" >/dev/null 2>&1 && return; sleep 1; done; return 1; }

# ---- the worker for GPUs, where there is none: everything but the driver is in it ----
if [[ " ${targets[*]} " == *" worker-cuda "* ]]; then
  wanting() { # libraries of libraries that are nowhere in it, once each; cuFile's RDMA half is opened where there is RDMA alone
    quietly podman run --rm --user 0 --entrypoint sh "$(image worker-cuda)" -c \
      'export LD_LIBRARY_PATH=$(ls -d /opt/libtorch/torch/lib /opt/libtorch/nvidia/*/lib | tr "\n" ":")
       find /opt/libtorch /usr/local/bin -type f ! -name "libcufile_rdma*" | xargs ldd 2>/dev/null' | awk '/not found/ { print $1 }' | sort -u | tr '\n' ' '
  }
  missing=$(wanting)
  expect "worker-cuda: of all libraries' libraries only the driver's is wanting: $missing" [ "$missing" = 'libcuda.so.1 ' ]
  redis_start
  no_gpu() {
    ! quietly timeout 120 podman run --rm "${strict[@]}" -e MFFA_LISTEN=":$(free_port)" -e MFFA_DEVICE=cuda:0 "$(image worker-cuda)" >"$tmp/no-gpu" 2>&1 &&
      grep -q 'finds 0 GPUs (CUDA 13 needs a GPU of Turing or newer and driver 580 or newer)' "$tmp/no-gpu"
  }
  expect "worker-cuda: without a GPU it says what is needed, and ends with an error" no_gpu
  grep -m 1 'finds 0 GPUs' "$tmp/no-gpu"
  quietly podman run -d --name "${names[1]}" "${strict[@]}" -e MFFA_LISTEN=":$(free_port)" "$(image worker-cuda)" >/dev/null
  expect "worker-cuda: device auto takes the CPU, healthy" healthy "${names[1]}"
  unhealthy() { ! podman run --rm "${strict[@]}" -e MFFA_LISTEN=":$(free_port)" "$(image worker-cuda)" --health; }
  expect "worker-cuda: --health where none listens is an error" unhealthy
fi
[[ " ${targets[*]} " == *" worker-cpu "* && " ${targets[*]} " == *" tools "* ]] || exit 0

# ---- together ----
redis_start
scheduler_port=$(free_port) worker_port=$(free_port)
for server in versitygw rgw; do
  S3_TLS=1 S3_BUCKET=plant "tests/support/$server.sh" start "$tmp/$server" && s3=$server && break
done
[ -n "$s3" ] || die "FAIL no S3 server starts here: install Go, or radosgw, ceph-mon and ceph-osd"
. "$tmp/$s3/env"

strict+=(-v "$S3_CA:/ca.pem:ro" -e AWS_CA_BUNDLE=/ca.pem -e MFFA_S3_ENDPOINT="$S3_ENDPOINT" -e MFFA_S3_REGION="$S3_REGION"
  -e AWS_ACCESS_KEY_ID="$S3_OWNER_KEY" -e AWS_SECRET_ACCESS_KEY="$S3_OWNER_SECRET")
tools() { podman run --rm "${strict[@]}" -v "$tmp/data:/data" "$(image tools)" "$@"; }
quietly podman run -d --name "${names[0]}" "${strict[@]}" -e MFFA_LISTEN=":$scheduler_port" --memory 64m "$(image scheduler)" >/dev/null
quietly podman run -d --name "${names[1]}" "${strict[@]}" -e MFFA_LISTEN=":$worker_port" --memory 4g \
  "$(image worker-cpu)" >/dev/null
mkdir -m 777 "$tmp/work" # as an emptyDir is
quietly podman run -d --name "${names[2]}" --user 1000650000:0 "${strict[@]}" -e MFFA_LISTEN=":$(free_port)" -e MFFA_POOL=other \
  -v "$tmp/work:/work" "$(image worker-cpu)" >/dev/null
expect "scheduler: healthy" healthy "${names[0]}"
began=$SECONDS
expect "worker: healthy" healthy "${names[1]}"
say "the worker was ready after $((SECONDS - began)) s"
expect "worker as a user that the image does not know (OpenShift): healthy" healthy "${names[2]}"
tools sample /data/sample train 8 good 4 defects 4 side 128 >/dev/null
for part in dataset weights; do expect "mffactl puts $part into the bucket" tools put "/data/sample/$part" "s3://plant/$part"; done
ids=$(cli -e --raw FCALL mffa_submit 0 pipeline dataset s3://plant/dataset weights s3://plant/weights output s3://plant/out \
  epochs 1 side 128 trace 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01)
# shellcheck disable=SC2086
expect "the sample job is done" tools watch $ids
last=$(tail -n 1 <<<"$ids")
expect "mffactl fetches its result" tools get "$last" "/data/got"
figures() { python3 -c 'import json, sys; sys.exit(not json.load(sys.stdin)["image_auroc"] >= 0.9)' <"$tmp/data/got/summary.json"; }
expect "the result's AUROC" figures
scrape() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=9).read().decode())' "$1"; }
counted() { scrape "http://127.0.0.1:$worker_port/metrics" | grep -q 'mffa_worker_runs_total{kind="evaluate",outcome="done"} 1'; }
expect "metrics over HTTP" counted
all_json() { podman logs "${names[1]}" 2>&1 | python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]'; }
expect "one JSON object a log line" all_json
expect "no password and no key stands in a log" bash -c \
  "! { podman logs ${names[0]}; podman logs ${names[1]}; podman logs ${names[2]}; } 2>&1 | grep -F -e '$password' -e '$S3_OWNER_SECRET'"
for name in "${names[@]}"; do
  began=$(date +%s%N)
  quietly podman stop -t 10 "$name" >/dev/null
  expect "$name: TERM ends it in order" [ "$(podman inspect "$name" --format '{{.State.ExitCode}}')" = 0 ]
  say "it took $((($(date +%s%N) - began) / 1000000)) ms"
done
say "all passed"
