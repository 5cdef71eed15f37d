#!/usr/bin/env bash
# presign.sh MFFACTL: beside a real S3 server (tests/support/rgw.sh run), URLs of a run folder are printed and fetched with curl.
set -euo pipefail
mffactl=$1
tmp=$(mktemp -d "${TMPDIR:-/tmp}/mffa-presign.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
fail() { echo "presign.sh: $*" >&2; exit 1; }
export MFFA_S3_ENDPOINT=$S3_ENDPOINT MFFA_S3_REGION=$S3_REGION MFFA_S3_CA_FILE=${S3_CA:-}
export AWS_ACCESS_KEY_ID=$S3_OWNER_KEY AWS_SECRET_ACCESS_KEY=$S3_OWNER_SECRET
unset AWS_SESSION_TOKEN
fetch() { curl -sS --noproxy '*' --max-time 60 ${S3_CA:+--cacert "$S3_CA"} "$@"; }

hostile='heatmaps/a b+c=%41(1)&é.png' # a key whose signature is easily got wrong
mkdir -p "$tmp/run/heatmaps"
printf '{}\n' >"$tmp/run/summary.json"
printf 'picture' >"$tmp/run/$hostile"
entry() { printf '{"key":"%s","bytes":%d,"sha256":"%s"}' "$1" "$(stat -c %s "$tmp/run/$1")" "$(sha256sum <"$tmp/run/$1" | cut -d' ' -f1)"; }
printf '{"v":1,"kind":"fit","job":"k4-1","run":1,"nonce":"0123","version":"1","created_ms":1,"objects":[%s,%s]}' \
  "$(entry "$hostile")" "$(entry summary.json)" >"$tmp/run/manifest.json"
url=s3://$S3_BUCKET/presign/run
"$mffactl" put "$tmp/run" "$url" >/dev/null

one=$("$mffactl" get --presign "$url" "$hostile")
[ "$(fetch -f "$one")" = picture ] || fail "the object of $one is not what was put"
case $one in *"$AWS_SECRET_ACCESS_KEY"*) fail "the secret is in the URL" ;; esac
[ "$(fetch -o /dev/null -w '%{http_code}' "${one/presign\/run/presign\/other}")" = 403 ] || fail "the permission holds for another key"
[ "$(fetch -o /dev/null -w '%{http_code}' "${one%%\?*}")" = 403 ] || fail "the object is open without a signature"

"$mffactl" get --presign "$url" >"$tmp/urls"
n=0
while read -r line; do fetch -f "$line" >"$tmp/got-$n" || fail "$line cannot be fetched"; n=$((n + 1)); done <"$tmp/urls"
[ "$n" = 3 ] || fail "$n URLs instead of 3"
cmp "$tmp/got-0" "$tmp/run/$hostile" && cmp "$tmp/got-1" "$tmp/run/summary.json" && cmp "$tmp/got-2" "$tmp/run/manifest.json"

if "$mffactl" get --presign "$url" absent.json >"$tmp/out" 2>"$tmp/err"; then fail "a URL of what is not there"; fi
[ ! -s "$tmp/out" ] && grep -q 'absent.json.*404' "$tmp/err" || fail "an absent key is answered with: $(cat "$tmp/err")"
echo "3 presigned URLs fetched with curl"
