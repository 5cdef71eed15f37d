# A private service on this machine: Redis on a socket, one scheduler, one worker. Sourced; needs bash.
#   service_start BIN DIR     state and logs under DIR; sets $service_socket
#   service_stop              the worker hands back what it holds; the servers end
# shellcheck shell=bash

service_start() {
  local bin=$1 dir=$2 n
  service_tmp=$(mktemp -d "${TMPDIR:-/tmp}/mffa.XXXXXX") # a socket's path may have 107 bytes at most
  service_socket=$service_tmp/redis.sock
  mkdir -p "$dir/log" "$dir/work"
  redis-server --port 0 --unixsocket "$service_socket" --dir "$service_tmp" --save '' --appendonly yes >"$dir/log/redis.log" 2>&1 &
  service_redis=$!
  for n in {1..100}; do redis-cli -s "$service_socket" ping >/dev/null 2>&1 && break || sleep 0.05; done
  export MFFA_REDIS_URL=unix://$service_socket
  "$bin/mffa-scheduler" 2>"$dir/log/scheduler.log" &
  service_scheduler=$!
  for n in {1..100}; do redis-cli -s "$service_socket" -e FCALL_RO mffa_stats 0 >/dev/null 2>&1 && break || sleep 0.05; done
  MFFA_ALLOWED_URLS=${MFFA_ALLOWED_URLS:-file:///} MFFA_WORK_DIR=$dir/work "$bin/mffa-worker" 2>"$dir/log/worker.log" &
  service_worker=$!
  for n in "$service_redis" "$service_scheduler" "$service_worker"; do
    kill -0 "$n" 2>/dev/null || { service_stop; tail -n 3 "$dir"/log/*.log >&2; return 1; }
  done
}

service_stop() {
  local pid
  for pid in "${service_worker:-}" "${service_scheduler:-}" "${service_redis:-}"; do
    [ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; } || true
  done
  service_worker='' service_scheduler='' service_redis=''
  [ -z "${service_tmp:-}" ] || rm -rf "$service_tmp"
}

service_cli() { redis-cli -s "$service_socket" "$@"; }

# The value of one field of a job, "" if it has none.
service_field() { service_cli --raw FCALL_RO mffa_status 0 "$1" | awk -v name="$2" 'NR % 2 { is = ($0 == name); next } is { print; exit }'; }
