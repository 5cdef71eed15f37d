#!/usr/bin/env bash
# The README's settings are those of the programs. test_readme.sh README MFFACTL; with --write it puts them in.
set -euo pipefail
readme=$1 mffactl=$2
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
awk -v table="$("$mffactl" settings --markdown)" '
  /^<!-- settings end -->/ { skip = 0 }
  !skip { print }
  /^<!-- settings:/ { print table; skip = 1 }' "$readme" >"$fresh"
[ "${3:-}" != --write ] || cp "$fresh" "$readme"
diff -u "$readme" "$fresh" || { echo "README.md: the settings table is old; mend it with $0 $readme $mffactl --write"; exit 1; }
