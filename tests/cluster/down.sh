#!/bin/bash
# Stops what up.sh started (by the pids it wrote).
set -u
KUBE_DIR=${KUBE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/mffa/kube/run}
[ -e "$KUBE_DIR/pids" ] || exit 0
each() { while read -r pid name; do
    [ "$(cat /proc/$pid/comm 2>/dev/null)" = "${name:0:15}" ] && { "$@" "$pid" || :; }; done < "$KUBE_DIR/pids"; }
each kill
for i in {1..30}; do [ -n "$(each echo)" ] || break; sleep 0.1; done
each kill -9
rm -f "$KUBE_DIR/pids"
