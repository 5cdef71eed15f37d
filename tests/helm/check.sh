#!/usr/bin/env bash
# The chart without a cluster: lint, renders that equal those in golden/, refusals with what a person reads, the README, and that every
# metric and setting it names exists. check.sh MFFACTL; with --write it renews golden/ and the README.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mffactl=${1:?the program mffactl} write=${2:-}
chart=helm/mffa
failed=0
no() { echo "FAIL $*"; failed=1; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# ---- what it names exists ----
"$mffactl" metrics | sed -n 's/^| `\([a-z0-9_]*\)`.*/\1/p' | sort -u >"$tmp/metrics"
sed 's/mffa-[a-z-]*//g' $chart/files/alerts.yaml $chart/files/dashboard.json | grep -oE '\b(mffa|process)_[a-z0-9_]+' | sed -E 's/_(bucket|sum|count)$//' | sort -u >"$tmp/named"
unknown=$(comm -13 "$tmp/metrics" "$tmp/named")
[ -z "$unknown" ] || no "alerts or dashboard name metrics that no program has:" $unknown
"$mffactl" settings --markdown | sed -n 's/^| `\([A-Z0-9_]*\)`.*/\1/p' | sort -u >"$tmp/settings"
grep -rhoE '\bMFFA_[A-Z0-9_]+' $chart/templates $chart/values.yaml docker/Dockerfile | grep -v '^MFFA_TEST_' | sort -u >"$tmp/named"
unknown=$(comm -13 "$tmp/settings" "$tmp/named")
[ -z "$unknown" ] || no "chart or images name settings that no program has:" $unknown
python3 -c 'import json, sys; json.load(open(sys.argv[1])); json.load(open(sys.argv[2]))' $chart/files/dashboard.json $chart/values.schema.json
if command -v promtool >/dev/null; then promtool check rules $chart/files/alerts.yaml >"$tmp/out" 2>&1 && promtool test rules tests/helm/alerts_test.yaml >"$tmp/out" 2>&1 || { cat "$tmp/out"; no "promtool refuses the alerts"; }
else echo "promtool is not here: the alerts are not checked by it"; fi

# ---- the README ----
python3 tests/helm/readme.py $chart >"$tmp/README.md"
[ "$write" != --write ] || cp "$tmp/README.md" $chart/README.md
diff -u $chart/README.md "$tmp/README.md" || no "$chart/README.md is old: tests/helm/check.sh MFFACTL --write"

# ---- the operations page's metrics ----
awk -v table="$("$mffactl" metrics)" '
  /^<!-- metrics end -->/ { skip = 0 }
  !skip { print }
  /^<!-- metrics:/ { print table; skip = 1 }' docs/operations.md >"$tmp/operations.md"
[ "$write" != --write ] || cp "$tmp/operations.md" docs/operations.md
diff -u docs/operations.md "$tmp/operations.md" || no "docs/operations.md has an old table of metrics: tests/helm/check.sh MFFACTL --write"
for alert in $(sed -n 's/^ *- alert: //p' $chart/files/alerts.yaml); do
  grep -q "^|.*\b$alert\b.*|" docs/operations.md || no "docs/operations.md does not say what to do about $alert"
done

# ---- lint and renders ----
PATH=${XDG_CACHE_HOME:-$HOME/.cache}/mffa/kube/bin:$PATH
command -v helm >/dev/null || { echo "helm is not here (./run test --cluster installs it where Go is): lint and renders are skipped"; exit $((failed ? 1 : 77)); }
for values in tests/helm/values/*.yaml; do
  name=$(basename "$values" .yaml)
  helm lint --strict --quiet --kube-version 1.33.0 $chart -f "$values" >"$tmp/out" 2>&1 || { cat "$tmp/out"; no "lint with $name"; }
  helm template plant $chart --kube-version 1.33.0 -n vision -f "$values" >"$tmp/$name.yaml" 2>"$tmp/out" || { cat "$tmp/out"; no "render of $name"; continue; }
  [ "$write" != --write ] || cp "$tmp/$name.yaml" "tests/helm/golden/$name.yaml"
  diff -u "tests/helm/golden/$name.yaml" "$tmp/$name.yaml" || no "the render of $name is another: if that is meant, tests/helm/check.sh MFFACTL --write"
done

# ---- refusals: values, and what the person reads ----
good=(--set redis.url=redis://r --set scheduler.image.repository=s --set workerDefaults.image.repository=w)
refused() {
  local says=$1; shift
  if helm template plant $chart --kube-version 1.33.0 "$@" >"$tmp/out" 2>&1; then no "not refused: $*"
  elif ! grep -qF -- "$says" "$tmp/out"; then no "refused without \"$says\": $*"; cat "$tmp/out"; fi
}
refused 'docker build -f docker/Dockerfile --target scheduler -t REGISTRY/mffa-scheduler:0.1.0 .' --set redis.url=redis://r --set workerDefaults.image.repository=w
refused 'docker push REGISTRY/mffa-worker-cpu:0.1.0' --set redis.url=redis://r --set scheduler.image.repository=s
refused 'docker build -f docker/Dockerfile --target worker-cuda' --set redis.url=redis://r --set scheduler.image.repository=s --set workerDefaults.gpu.count=1
refused 'redis.url is not set: give the address of your Redis' --set scheduler.image.repository=s --set workerDefaults.image.repository=w
refused "additional properties 'replica' not allowed" "${good[@]}" --set scheduler.replica=3
refused "additional properties 'gpus' not allowed" "${good[@]}" --set workers[0].name=a --set workers[0].gpus=1
refused "value must be one of 'none', 'keda', 'keda-job', 'hpa'" "${good[@]}" --set workerDefaults.autoscaling.type=vpa
refused "value must be one of 'finetune', 'fit'" "${good[@]}" --set workerDefaults.kinds={fits}
refused "missing property 'name'" "${good[@]}" --set workers[0].replicas=1
refused "does not match pattern '^(https?://.+)?\$'" "${good[@]}" --set s3.endpoint=s3.example.com
refused "does not match pattern '^MFFA_[A-Z0-9_]+\$'" "${good[@]}" --set scheduler.settings.leaseMs=5
refused "does not match pattern '^([^/].*[^/])?\$'" "${good[@]}" --set global.imageRegistry=registry.example.com/
refused 'name the claim of cache.type existingClaim' "${good[@]}" --set workerDefaults.cache.type=existingClaim
[ $failed = 0 ] && echo "the chart is as it should be"
exit $failed
