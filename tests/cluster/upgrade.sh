#!/usr/bin/env bash
# An upgrade with work in hand, for real: the API server's pods are the programs themselves (node.py), beside a real Redis and a real S3
# server. The version before this one is installed, gets jobs of every state, is upgraded, rolled back and upgraded again while jobs keep
# coming; every acknowledged job is done in the end. Also for real here: the notes' redis-cli line and helm test. upgrade.sh BIN LIBTORCH
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=$(realpath "${1:?folder of the programs}") libtorch=${2:?folder of libtorch}
. tests/cluster/tools.sh
. tests/cluster/previous.sh
cluster_has_go || { echo "upgrade: skipped, Go 1.26 is not at hand (the API server is built with it)"; exit 77; }
cluster_tools
previous_build "$cluster_cache/previous" "$libtorch" || { echo "upgrade: skipped, the version before this one is not in the history here or does not build"; exit 77; }

name=upgrade
. tests/cluster/plant.sh
plant_start mffa-scheduler:old="$previous/bin/mffa-scheduler" mffa-worker:old="$previous/bin/mffa-worker" \
  mffa-scheduler:new="$bin/mffa-scheduler" mffa-worker:new="$bin/mffa-worker" mffa-tools:new="$bin/mffactl"
kubectl create ns plant >/dev/null
kubectl label ns plant pod-security.kubernetes.io/enforce=restricted >/dev/null
kubectl create secret generic redis -n plant --from-literal=password="$password" >/dev/null
kubectl create secret generic s3 -n plant --from-literal=AWS_ACCESS_KEY_ID="$S3_OWNER_KEY" --from-literal=AWS_SECRET_ACCESS_KEY="$S3_OWNER_SECRET" >/dev/null
cat >"$tmp/values.yaml" <<EOT
redis: {url: "redis://127.0.0.1:$port", existingSecret: redis}
s3: {endpoint: "$S3_ENDPOINT", region: $S3_REGION, existingSecret: s3}
scheduler: {image: {repository: mffa-scheduler}}
workerDefaults:
  image: {repository: mffa-worker}
  settings: {MFFA_THREADS: 1, MFFA_BEAT_MS: 500}
  allowedUrls: ["s3://plant"]
workers: [{name: default, replicas: 2}]
test: {url: "s3://plant/selftest", image: {repository: mffa-tools, tag: new}}
EOT
release() { # install|upgrade CHART TAG
  helm -n plant --timeout 120s "$1" plant "$2" -f "$tmp/values.yaml" --set scheduler.image.tag="$3" --set workerDefaults.image.tag="$3" --wait
}
expect "the version before, $(basename "$previous" | cut -c1-9), is installed" release install "$previous/helm/mffa" old

# ---- work of every state ----
"$bin/mffactl" sample "$tmp/sample" train 8 good 2 defects 2 side 64 >/dev/null
for part in dataset weights; do "$bin/mffactl" put "$tmp/sample/$part" "s3://plant/$part" >/dev/null; done
submit() { cli -e --raw FCALL mffa_submit 0 "$@" dataset s3://plant/dataset output s3://plant/out weights s3://plant/weights >>"$tmp/ids"; }
is_() { [ "$(job_field "$1" "$2")" = "$3" ]; }
first() { sed -n "${1}p" "$tmp/ids"; }
submit finetune side 64 epochs 40
submit finetune side 64 epochs 40 seed 7
for id in $(first 1) $(first 2); do
  eventually is_ "$id" state running
  eventually test -e "$tmp/s3/data/plant/out/finetune-$id/checkpoint/checkpoint.safetensors"
done
for n in 1 2 3; do submit fit side 64 seed $n; done
submit fit side 64 delay 15
submit evaluate model "$(first 3)" after "$(first 3)"
say "states before: $(for id in $(cat "$tmp/ids"); do job_field "$id" state; done | sort | uniq -c | tr -s ' \n' ' ')"
(n=0; trap 'exit 0' TERM; trap - EXIT; while :; do n=$((n + 1)); submit fit side 64 seed $((100 + n)) prio 1; sleep 3 & wait $!; done) &
producer=$!
plant_pids+=($producer)

# ---- there, back, and there again ----
began=$SECONDS
expect 'upgrade --wait' release upgrade helm/mffa new
say "it took $((SECONDS - began)) s"
expect 'rollback --wait' helm -n plant --timeout 120s rollback plant 1 --wait
expect 'upgrade --wait again' release upgrade helm/mffa new
kill $producer && wait $producer || :
say "$(wc -l <"$tmp/ids") jobs were acknowledged"
ids=$(cat "$tmp/ids")
# shellcheck disable=SC2086
expect 'every one of them is done' timeout 600 "$bin/mffactl" watch $ids
total() { for id in $ids; do job_field "$id" "$1"; done | awk '{ n += $1 } END { print n + 0 }'; }
expect "the two fine-tunings were handed back: $(job_field "$(first 1)" preempted) and $(job_field "$(first 2)" preempted) times" \
  [ $(($(job_field "$(first 1)" preempted) * $(job_field "$(first 2)" preempted))) -gt 0 ]
expect 'none was lost' [ "$(total lost)" = 0 ]
expect 'none failed on its way' [ "$(total failures)" = 0 ]
expect 'no pod was removed before it had ended, all ended well' bash -c "! grep -vE '(ended with 0|was stopped before it had begun)$' '$tmp/node/node.log'"

# ---- what a person types afterwards ----
line=$(helm -n plant get notes plant | grep -m 1 -- '-e FCALL mffa_submit')
line=${line/ --askpass/} line=${line/s3:\/\/BUCKET\/product/s3:\/\/plant\/dataset} line=${line//s3:\/\/BUCKET/s3:\/\/plant}
say "$(echo "$line" | tr -s ' ')"
bash -c "$line side 64 psg off" >"$tmp/typed"
# shellcheck disable=SC2046
expect "the notes' line works" "$bin/mffactl" watch $(cat "$tmp/typed")
expect 'helm test' helm -n plant --timeout 120s test plant
say "$(tail -n 1 "$tmp/node/plant-mffa-test.log")"
expect 'uninstall' helm -n plant --timeout 60s uninstall plant --wait
gone() { [ -z "$(kubectl get pods -n plant -l app.kubernetes.io/component!=test -o name)" ]; }
expect 'all pods end' eventually gone
say "all passed"
