#!/usr/bin/env bash
# The table of ./run bench precision on a small sample, on the CPU: figures for fp32 and bf16, and why there are none for tf32.
#   test_precision.sh BIN
set -euo pipefail
bin=$1 here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v redis-server >/dev/null || { echo "skipped: redis-server is not installed"; exit 77; }
dir=$(mktemp -d "${TMPDIR:-/tmp}/mffa-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
"$bin/mffactl" sample "$dir" train 3 good 1 defects 1 side 64 >/dev/null
"$here/precision" "$bin" --data "$dir/dataset" --weights "$dir/weights" --device cpu >"$dir/table" 2>"$dir/log" || { cat "$dir/log"; exit 1; }
cat "$dir/table"
cell='[01]\.[0-9]{4} \([+-][01]\.[0-9]{4}\)'
[ "$(grep -cE "^\| (fp32|bf16)( \| $cell){3} \| [0-9.]+ s \| [0-9.]+ s \|$" "$dir/table")" = 2 ]
grep -q '^| tf32 | precision "tf32" needs a GPU' "$dir/table"
