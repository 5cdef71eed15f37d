#!/usr/bin/env bash
# The rendered chart played for real: scheduler, worker and the pod of helm test as podman 5 runs their manifests, a worker pod that is
# deleted in the middle of a fine-tune, which goes on from its checkpoint in the next one, and of a fit, which runs again there.
#   play.sh DIR       after images.sh with the same DIR
# Changed in the manifests: probes are left out (podman runs an HTTP probe with curl inside the container, and the images have none), and
# the password file may be read by all (podman knows no fsGroup).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
engine_dir=${1:?folder for the engine}
. tests/docker/engine.sh
. tests/cluster/tools.sh
PATH=$KUBE_BIN:$PATH
[ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] || { echo "play: skipped, it needs root on Debian"; exit 77; }
command -v helm >/dev/null || cluster_has_go || { echo "play: skipped, helm is not here and Go 1.26 is not at hand"; exit 77; }
command -v helm >/dev/null || GOBIN=$KUBE_BIN CGO_ENABLED=0 go install helm.sh/helm/v3/cmd/helm@$helm_version
say() { printf 'play: %s\n' "$*"; }
engine_setup "$engine_dir"
for image in scheduler worker-cpu tools; do
  podman image exists localhost/mffa-$image:test || { say "localhost/mffa-$image:test is not built: tests/docker/images.sh first"; exit 1; }
done

tmp=$(mktemp -d)
redis=''
cleanup() {
  local rc=$?
  trap - EXIT
  [ -z "$redis" ] || { kill "$redis"; wait "$redis" || :; } 2>/dev/null
  rm -rf "$tmp"
  exit $rc
}
trap cleanup EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
password=$(head -c 18 /dev/urandom | base64)
redis-server --port "$port" --bind 127.0.0.1 --requirepass "$password" --dir "$tmp" --save '' --appendonly yes >"$tmp/redis.log" 2>&1 &
redis=$!
mkdir -m 777 "$tmp/data"
cat >"$tmp/values.yaml" <<EOT
redis: {url: "redis://127.0.0.1:$port", existingSecret: plant-redis}
scheduler: {image: {repository: localhost/mffa-scheduler, tag: test}}
workerDefaults:
  image: {repository: localhost/mffa-worker-cpu, tag: test}
  allowedUrls: ["file:///data"]
  resources: {limits: {memory: 6Gi}}
  extraVolumes: [{name: data, hostPath: {path: /work/data}}]
  extraVolumeMounts: [{name: data, mountPath: /data}]
test:
  url: file:///data
  image: {repository: localhost/mffa-tools, tag: test}
  extraVolumes: [{name: data, hostPath: {path: /work/data}}]
  extraVolumeMounts: [{name: data, mountPath: /data}]
EOT
manifest() { # FILE: one template without its probes, and only the document that runs
  helm template plant helm/mffa --kube-version 1.33.0 -n life -f "$tmp/values.yaml" -s "templates/$1" |
    sed '/startupProbe:/,/resources:/{/resources:/!d}; s/defaultMode: 0440/defaultMode: 0444/' |
    awk 'BEGIN { RS = "---\n" } /kind: (Deployment|Pod)\n/ { printf "---\n%s", $0 }'
}
secret() { printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: plant-redis}\ndata: {password: %s}\n' "$(printf '%s' "$password" | base64)"; }
secret >"$tmp/secret.yaml"
manifest scheduler.yaml >"$tmp/scheduler.yaml"
manifest workers.yaml | sed 's/:9464/:9465/' >"$tmp/worker.yaml" # one host's network: another port than the scheduler's
manifest tests/sample.yaml >"$tmp/test.yaml"
podman save -q -m -o "$tmp/images.tar" localhost/mffa-scheduler:test localhost/mffa-worker-cpu:test localhost/mffa-tools:test
printf 'PORT=%s PASSWORD=%q\n' "$port" "$password" >"$tmp/settings"
cat >"$tmp/inside.sh" <<'EOT'
set -euo pipefail
cd /work
. ./settings
say() { printf 'play: %s\n' "$*"; }
fail() { say "FAIL $*"; for c in $(podman ps -aq); do podman logs "$c" 2>&1 | tail -n 8; done; exit 1; }
stop_all() { rc=$?; podman pod rm -f -t 1 -a && podman secret rm -a && podman volume rm -a -f; exit $rc; } >/dev/null 2>&1
trap stop_all EXIT
podman load -q -i images.tar >/dev/null
tools() {
  podman run --rm --network host -v /work/data:/data -v /work/password:/password:ro -e MFFA_REDIS_URL=redis://127.0.0.1:$PORT \
    -e MFFA_REDIS_PASSWORD_FILE=/password localhost/mffa-tools:test "$@"
}
printf '%s\n' "$PASSWORD" >password && chmod 644 password
podman kube play --quiet --network host secret.yaml >/dev/null
podman kube play --quiet --network host scheduler.yaml >/dev/null
podman kube play --quiet --network host worker.yaml >/dev/null
say "scheduler and worker play"
tools sample /data/sample train 8 good 2 defects 2 side 64 >/dev/null
sample=file:///data/sample
worker_log() { podman logs "$(podman ps -aq --filter name=mffa-worker-default-pod-worker)" 2>&1; }
said() { worker_log | grep -q "\"event\":\"$1\",.*\"job\":\"$2\",\"run\":$3"; } # EVENT JOB RUN
eventually() { for _ in $(seq 240); do ! "$@" || return 0; sleep 0.5; done; fail "never came: $*"; }
worker_is_replaced() { # in the middle of JOB, whose second run is then done by the next pod
  local began=$(date +%s)
  podman kube down worker.yaml >/dev/null
  say "ok   the worker's pod was deleted in the middle of $1, in $(($(date +%s) - began)) s"
  podman kube play --quiet --network host worker.yaml >/dev/null
  tools watch "$1" >watched || fail "$1 did not end well"
  said job.done "$1" 2 || fail "$1 did not end in its second run"
}
id=$(tools submit finetune dataset $sample/dataset weights $sample/weights output file:///data/out epochs 12 side 64)
eventually [ -d "data/out/finetune-$id/checkpoint" ]
worker_is_replaced "$id"
epoch=$(grep -oE '"resumed_epoch": *[0-9]+' data/out/finetune-"$id"/run-2-*/summary.json | grep -oE '[0-9]+$')
[ "$epoch" -gt 0 ] || fail "the fine-tune began again"
say "ok   the fine-tune went on in the next one, from its checkpoint behind epoch $epoch"
tools sample /data/more train 48 good 1 defects 1 side 64 >/dev/null
id=$(tools submit fit dataset file:///data/more/dataset weights $sample/weights output file:///data/out)
eventually said job.started "$id" 1
worker_is_replaced "$id"
say "ok   the fit ran again in the next one"
podman kube play --quiet --network host test.yaml >/dev/null
name=plant-mffa-test-sample
code=$(podman wait "$name")
podman logs "$name" 2>&1 | tail -n 3
[ "$code" = 0 ] || fail "the pod of helm test ended with $code"
say "ok   the pod of helm test"
EOT
bash tests/docker/podman5.sh "$engine_dir/podman5" "$tmp/inside.sh" "$tmp"
say "all passed"
