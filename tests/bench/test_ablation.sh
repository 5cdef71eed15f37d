#!/usr/bin/env bash
# The tables of ./run bench ablation on a small sample: a row for each model, a column for each defect type, figures in every cell.
#   test_ablation.sh BIN
set -euo pipefail
bin=$1 here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for program in python3 redis-server; do command -v $program >/dev/null || { echo "skipped: $program is not installed"; exit 77; }; done
dir=$(mktemp -d "${TMPDIR:-/tmp}/mffa-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
"$bin/mffactl" sample "$dir" train 4 good 2 defects 1 side 64 >/dev/null
"$here/ablation" "$bin" --data "$dir/dataset" --weights "$dir/weights" --set side=64 --set epochs=1 --set ratio=0.1 >"$dir/tables" 2>"$dir/log" ||
  { cat "$dir/log"; exit 1; }
cat "$dir/tables"
types=$(find "$dir/dataset/test" -mindepth 1 -maxdepth 1 -type d ! -name good | wc -l)
cell='[01]\.[0-9]{4} / [01]\.[0-9]{4} / [01]\.[0-9]{4}'
[ "$(grep -cE "^\| [^|]+( \| $cell){$((types + 1))} \|$" "$dir/tables")" = 7 ] # three maps, four models
if "$here/ablation" "$bin" --data "$dir/dataset" --weights "$dir/weights" --set blocks=1 2>"$dir/log"; then exit 1; fi
grep -q -- '--set blocks' "$dir/log"
