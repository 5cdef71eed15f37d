#!/usr/bin/env bash
# docs/operations.md, typed: every command that needs a cluster, in the page's order, by workers that have the page's bucket policy and no
# other rights; a backup that is really put back; a node that is drained. operations.sh BIN
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=$(realpath "${1:?folder of the programs}") top=$PWD page=$PWD/docs/operations.md
. tests/support/page.sh
. tests/cluster/tools.sh
cluster_has_go || { echo "operations: skipped, Go 1.26 is not at hand (the API server is built with it)"; exit 77; }
cluster_tools
name=operations
. tests/cluster/plant.sh
images=()
for image in scheduler:mffa-scheduler worker-cpu:mffa-worker tools:mffactl; do
  images+=("registry.example.com/mffa-${image%:*}:0.1.0=$bin/${image#*:}")
done
plant_start "${images[@]}"

# ---- what the page takes for granted: tools that know where Redis is, the bucket's policy, pictures, weights, values ----
mkdir "$tmp/bin" "$tmp/here"
printf '#!/bin/sh\nexec %s -h 127.0.0.1 -p %s "$@"\n' "$(command -v redis-cli)" "$port" >"$tmp/bin/redis-cli"
chmod +x "$tmp/bin/redis-cli"
ln -s "$bin/mffactl" "$tmp/bin/mffactl"
PATH=$tmp/bin:$PATH
policy=$(awk '/^```json$/ { on = 1; next } /^```$/ { on = 0 } on' "$page" | sed "s/\"WORKER\"/\"$S3_OTHER_KEY\"/; s/\"VIEWER\"/\"$S3_READER_KEY\"/")
policy=$(python3 - "$S3_OWNER_KEY" 3<<<"$policy" <<'P2'
import json, os, sys
policy = json.load(os.fdopen(3))
policy["Statement"].append({"Effect": "Allow", "Principal": {"AWS": [sys.argv[1]]}, "Action": ["s3:*"], "Resource": ["arn:aws:s3:::plant", "arn:aws:s3:::plant/*"]})
print(json.dumps(policy))
P2
)
put_policy() {
  curl -sSf -X PUT --data-binary "$policy" --aws-sigv4 "aws:amz:$S3_REGION:s3" -u "rootkey:rootsecret0123456789" \
    -H "x-amz-content-sha256: $(printf %s "$policy" | sha256sum | cut -d' ' -f1)" -H 'Content-Type: application/json' "$S3_ENDPOINT/plant?policy="
}
expect "the page's bucket policy is taken" put_policy
ln -s "$top/helm" "$tmp/here/helm"
mffactl sample "$tmp/sample" train 8 good 2 defects 2 side 64 >/dev/null
mkdir "$tmp/here/weights"
mv "$tmp/sample/dataset" "$tmp/here/product"
mv "$tmp/sample/weights" "$tmp/here/weights/small"
cat >"$tmp/here/values.yaml" <<EOT
redis: {url: "redis://127.0.0.1:$port", existingSecret: mffa-redis}
s3: {endpoint: "$S3_ENDPOINT", region: $S3_REGION, existingSecret: mffa-s3}
scheduler: {image: {repository: registry.example.com/mffa-scheduler}}
workerDefaults:
  image: {repository: registry.example.com/mffa-worker-cpu}
  settings: {MFFA_THREADS: 1, MFFA_BEAT_MS: 500}
  allowedUrls: ["s3://plant"]
workers: [{name: default, replicas: 2}]
test: {url: "s3://plant/out/selftest", image: {repository: registry.example.com/mffa-tools}}
EOT
typed=0
typed_out=$tmp/typed
types() { # HEADING [N] [sed for what stands for something of the reader's]
  local commands
  commands=$(page_commands "$page" "$1" "${2:-1}") || die "there is no block ${2:-1} below \"$1\""
  commands=$(sed "${3:-}" <<<"$commands")
  (cd "$tmp/here" && bash -euo pipefail -c "$commands") >"$typed_out" 2>&1 || { cat "$typed_out"; die "$1: $commands"; }
  say "ok   $1: $(grep -c . <<<"$commands") lines"
  typed=$((typed + 1))
}
as() { # KEY SECRET COMMAND...
  AWS_ACCESS_KEY_ID=$1 AWS_SECRET_ACCESS_KEY=$2 "${@:3}"
}
refused() { ! "$@"; }

# ---- installation, a first product ----
REDIS_PASSWORD=$password AWS_ACCESS_KEY_ID=$S3_OTHER_KEY AWS_SECRET_ACCESS_KEY=$S3_OTHER_SECRET types Installation
say "     $(tail -n 1 "$tmp/node/mffa-test.log")"
types Installation 2 's/output .*/& side 64 epochs 8/' # small pictures, soon done
ids=$(grep -oE '\b[a-z0-9]+-[0-9]+\b' "$typed_out" | head -n 3)
[ "$(wc -l <<<"$ids")" = 3 ] || die "a pipeline was not answered with three ids: $(cat "$typed_out")"
expect 'a worker may not write beside the outputs' refused as "$S3_OTHER_KEY" "$S3_OTHER_SECRET" mffactl put "$tmp/here/weights/small" s3://plant/product/x
expect 'a viewer may not write at all' refused as "$S3_READER_KEY" "$S3_READER_SECRET" mffactl put "$tmp/here/weights/small" s3://plant/out/x
command -v promtool >/dev/null && types Alerts || say "     promtool is not here: the alerts' rules are not checked by it"
types 'Upgrade and rollback'

# ---- a backup, put back ----
types 'Backup of Redis'
first_epoch=$(head -n 1 <<<"$ids" | cut -d- -f1)
lost=$(cli -e --raw FCALL mffa_submit 0 fit dataset s3://plant/product weights s3://plant/weights output s3://plant/out side 64)
ticks=$(cli --raw HGET 'mffa:{main}:cfg' tick)
seen() { [ "$(cli --raw HGET 'mffa:{main}:cfg' tick)" -ge $((ticks + 4)) ]; } # both schedulers have looked since
eventually seen
kill "$plant_redis" && wait "$plant_redis" || :
rm -rf "$tmp/redis" && mkdir "$tmp/redis"
mv "$tmp/here/queue.rdb" "$tmp/redis/dump.rdb"
plant_redis_start --appendonly no
types 'Backup of Redis' 2
expect 'the log is written' eventually test -e "$tmp/redis/appendonlydir"
noticed() { grep -h '"event":"redis.lost_writes"' "$tmp"/node/mffa-scheduler-*.log; }
expect 'a scheduler has seen that Redis is older' eventually noticed
expect 'what came after the snapshot is gone' refused cli -e FCALL_RO mffa_status 0 "$lost"
again=$(cli -e --raw FCALL mffa_submit 0 fit dataset s3://plant/product weights s3://plant/weights output s3://plant/out side 64)
expect "ids begin anew: $first_epoch, $again" [ "${again%-*}" != "$first_epoch" ]

# ---- a node is taken out ----
plant_node second "${images[@]}"
types 'Spot nodes' 1 's/NODE/real/'
left() { [ "$(kubectl get pods --namespace mffa --field-selector spec.nodeName=second -o name | wc -l)" = 4 ]; }
expect 'its pods live on the other one' eventually left
# shellcheck disable=SC2086
expect 'all jobs are done' timeout 600 mffactl watch $ids $again
expect 'a viewer may fetch the result' as "$S3_READER_KEY" "$S3_READER_SECRET" mffactl get "$(tail -n 1 <<<"$ids")" "$tmp/here/result"
total() { for id in $ids $again; do job_field "$id" "$1"; done | awk '{ n += $1 } END { print n + 0 }'; }
say "     preempted $(total preempted), lost $(total lost), failed $(total failures)"
expect 'none failed' [ "$(total failures)" = 0 ]

# ---- removal ----
types Removal
types Removal 2
expect 'Redis is empty' [ "$(cli DBSIZE)" = 0 ]
elsewhere=$((1 + 2)) # Images; Without the internet: tests/docker/images.sh
command -v promtool >/dev/null || typed=$((typed + 1))
[ "$(page_blocks "$page")" = $((typed + elsewhere)) ] || die "the page has $(page_blocks "$page") blocks, $typed were typed here and $elsewhere are elsewhere"
say "all passed"
