# The commands of a page, to be typed by a test. Sourced; needs bash.
#   page_commands FILE HEADING [N]     the N-th (first) block of shell commands below "## HEADING"; 1 if there is none
# shellcheck shell=bash
page_commands() {
  awk -v heading="## $2" -v n="${3:-1}" '
    /^## / { here = $0 == heading }
    here && /^```sh$/ { at++; inside = 1; next }
    inside && /^```$/ { inside = 0 }
    inside && at == n { print; found = 1 }
    END { exit !found }' "$1"
}
page_blocks() { grep -c '^```sh$' "$1"; } # FILE
