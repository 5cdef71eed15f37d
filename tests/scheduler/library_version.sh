#!/usr/bin/env bash
# Where the function library's code differs from the last version's, its VERSION is higher: programs replace a library in Redis by a higher
# VERSION only, so an upgrade would go on with the old code.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/cluster/previous.sh
folder=scheduler/functions
before=$(previous_commit 2>/dev/null) || { echo "skipped: the version before this one is not in the history here"; exit 77; }
code() { sed -E 's/(^|[[:space:]]+)--.*$//; /^[[:space:]]*$/d'; } # without comments
version() { sed -nE 's/^local VERSION = ([0-9]+).*/\1/p'; }
old=$(for f in $(git ls-tree --name-only "$before" $folder/ | grep '\.lua$'); do git show "$before:$f"; done)
new=$(cat $folder/*.lua)
was=$(version <<<"$old") is=$(version <<<"$new")
cmp -s <(code <<<"$old") <(code <<<"$new") || [ "$is" -gt "$was" ] ||
  { echo "the library's code is another than at ${before::9}, which also says VERSION $was: raise it in $folder/head.lua"; exit 1; }
echo "VERSION $is after $was"
