# A plant for tests that need more than an API server: a real Redis with a password, a real S3 server with the bucket "plant", a cluster in
# whose namespace pods are the programs themselves (node.py). Sourced; needs bash, tools.sh, and $name for what is said.
#   plant_start IMAGE=PROGRAM...      sets $tmp $port $password $KUBECONFIG, MFFA_* and AWS_* for mffactl, the functions below
#   plant_node NAME IMAGE=PROGRAM...  one more node
# shellcheck shell=bash
plant_redis='' plant_pids=()
say() { printf '%s: %s\n' "$name" "$*"; }
die() { say "FAIL $*"; exit 1; }
eventually() { local n; for n in {1..600}; do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; say "never came: $*" >&2; return 1; }
expect() { local what=$1; shift; "$@" >"$tmp/out" 2>&1 && say "ok   $what" || { cat "$tmp/out"; die "$what"; }; }
cli() { redis-cli -h 127.0.0.1 -p "$port" "$@"; }
job_field() { cli -e --raw HGET "mffa:{main}:job:$1" "$2"; }

plant_end() {
  local rc=$? pid
  trap - EXIT
  for pid in "${plant_pids[@]}" $plant_redis; do { kill "$pid" && wait "$pid"; } 2>/dev/null || :; done
  tests/cluster/down.sh
  [ ! -e "$tmp/s3/env" ] || tests/support/versitygw.sh stop "$tmp/s3"
  [ $rc = 0 ] || tail -n 5 "$tmp"/node/*.log || :
  rm -rf "$tmp" "$KUBE_DIR"
  exit $rc
}

plant_redis_start() { # [redis-server's options]
  redis-server --port "$port" --bind 127.0.0.1 --requirepass "$password" --dir "$tmp/redis" --save '' "$@" >>"$tmp/redis.log" 2>&1 &
  plant_redis=$!
  eventually cli ping
}

plant_node() {
  local node=$1
  shift
  tests/cluster/node.py "$KUBECONFIG" "$node" "$tmp/node" "$@" &
  plant_pids+=($!)
  eventually kubectl wait --for=condition=Ready "node/$node" --timeout=1s
}

plant_start() {
  local fake
  tmp=$(mktemp -d)
  export KUBE_DIR=$cluster_cache/run-$$
  trap plant_end EXIT
  mkdir "$tmp/node" "$tmp/redis"
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  password=$(head -c 18 /dev/urandom | base64)
  export REDISCLI_AUTH=$password
  plant_redis_start --appendonly yes
  printf '%s\n' "$password" >"$tmp/password"
  S3_BUCKET=plant tests/support/versitygw.sh start "$tmp/s3"
  . "$tmp/s3/env"
  export MFFA_REDIS_URL=redis://127.0.0.1:$port MFFA_REDIS_PASSWORD_FILE=$tmp/password MFFA_S3_ENDPOINT=$S3_ENDPOINT MFFA_S3_REGION=$S3_REGION \
    AWS_ACCESS_KEY_ID=$S3_OWNER_KEY AWS_SECRET_ACCESS_KEY=$S3_OWNER_SECRET
  tests/cluster/up.sh
  export KUBECONFIG=$KUBE_DIR/admin.conf
  for fake in $(kubectl get nodes -o name); do kubectl cordon "$fake" >/dev/null; done
  plant_node real "$@"
}
