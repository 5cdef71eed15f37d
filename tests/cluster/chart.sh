#!/usr/bin/env bash
# The chart against a real API server with fake nodes: strict dry runs of every values file, restricted Pod Security, the life of a
# release, drain, RBAC, GPUs. Skips aloud where Go 1.26 is not at hand.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/cluster/tools.sh
cluster_has_go || { echo "cluster: skipped, Go 1.26 is not at hand (the API server is built with it)"; exit 77; }
cluster_tools
chart=helm/mffa
export KUBE_DIR=$cluster_cache/run-$$
tmp=$(mktemp -d)
trap 'tests/cluster/down.sh; rm -rf "$tmp" "$KUBE_DIR"' EXIT
tests/cluster/up.sh
export KUBECONFIG=$KUBE_DIR/admin.conf
fails=0 passes=0
ok() { echo "ok   $1"; passes=$((passes + 1)); }
no() { echo "FAIL $1"; fails=$((fails + 1)); cat "$tmp/out"; }
yes_() { local what=$1; shift; if "$@" >"$tmp/out" 2>&1; then ok "$what"; else no "$what"; fi; }
not_() { local what=$1; shift; if "$@" >"$tmp/out" 2>&1; then no "$what"; else ok "$what"; fi; }
eq() { [ "$1" = "$2" ] || { echo "got '$1', want '$2'"; return 1; }; }
namespace() { kubectl create ns "$1" >/dev/null; kubectl label ns "$1" pod-security.kubernetes.io/enforce=restricted >/dev/null; }
eventually() { local n; for n in {1..60}; do "$@" >/dev/null 2>&1 && return; sleep 0.5; done; "$@"; }

# ---- other people's kinds ----
yes_ 'definitions of KEDA' keda_definitions
yes_ 'definitions of the Prometheus operator' definitions github.com/prometheus-operator/prometheus-operator@v0.83.0 \
  example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml
yes_ 'they are served' kubectl wait --for=condition=Established crd --all --timeout=30s

# ---- every object passes the server's strict decoding (helm alone lets an unknown field pass) ----
namespace dry
kubectl create serviceaccount mffa-sa -n dry >/dev/null # of two values files: a pod is refused without it, also dry
for values in tests/helm/values/*.yaml; do
  yes_ "strict dry run: $(basename "$values" .yaml)" bash -c \
    "set -o pipefail; helm template plant $chart --kube-version 1.33.0 -n dry -f $values | kubectl apply -n dry --dry-run=server --validate=strict -f -"
done
helm template plant $chart --kube-version 1.33.0 -n dry -f tests/helm/values/gpu.yaml | sed '0,/replicas:/s//replica:/' >"$tmp/unknown.yaml"
not_ 'and it finds an unknown field' kubectl apply -n dry --dry-run=server --validate=strict -f "$tmp/unknown.yaml"

# ---- restricted Pod Security admits every pod of every values file ----
for values in tests/helm/values/*.yaml; do
  helm template plant $chart --kube-version 1.33.0 -n dry -f "$values" >"$tmp/render.yaml"
  python3 - "$tmp/render.yaml" >"$tmp/pods.json" <<'P'
import json, subprocess, sys
text = subprocess.run(["kubectl", "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", sys.argv[1]], stdout=subprocess.PIPE, check=True).stdout.decode()
at, items, decoder = 0, [], json.JSONDecoder()
while at < len(text):
    o, at = decoder.raw_decode(text, at)
    while at < len(text) and text[at].isspace(): at += 1
    items += o["items"] if o["kind"] == "List" else [o]
pods = []
for o in items:
    spec = o.get("spec", {})
    template = spec if o["kind"] == "Pod" else spec.get("template") or spec.get("jobTargetRef", {}).get("template")
    if o["kind"] == "Pod": template = {"metadata": o["metadata"], "spec": spec}
    if not isinstance(template, dict) or "spec" not in template: continue
    template["spec"].pop("priorityClassName", None)
    template["spec"].pop("runtimeClassName", None)
    template["spec"].pop("serviceAccountName", None)
    pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": o["kind"].lower() + "-" + o["metadata"]["name"], "labels": template["metadata"].get("labels", {})}, "spec": template["spec"]})
for p in pods:  # volumeClaimTemplates give a StatefulSet's volumes
    p["spec"]["volumes"] = p["spec"].get("volumes") or []
    names = {v["name"] for v in p["spec"]["volumes"]}
    for c in p["spec"]["containers"]:
        for m in c.get("volumeMounts") or []:
            if m["name"] not in names: p["spec"]["volumes"].append({"name": m["name"], "emptyDir": {}}); names.add(m["name"])
print(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
P
  yes_ "restricted Pod Security admits: $(basename "$values" .yaml), $(grep -o '"kind": "Pod"' "$tmp/pods.json" | wc -l) pods" \
    kubectl apply -n dry --dry-run=server --validate=strict -f "$tmp/pods.json"
done
printf '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}' >"$tmp/lax.json"
not_ 'and refuses one that is not' kubectl apply -n dry --dry-run=server -f "$tmp/lax.json"

finish() { echo "$passes passed, $fails failed"; exit $((fails > 0)); }
[ "${KUBE_PARTS:-all}" = all ] || finish # KUBE_PARTS=api: without controllers and nodes nothing lives

# ---- the life of a release ----
namespace life
kubectl create secret generic plant-redis -n life --from-literal=password=x >/dev/null
V=(-f tests/helm/values/bundled-redis.yaml --set redis.bundled.storageClassName= --set test.url=s3://plant/selftest --set test.image.repository=tools)
H=(helm -n life --timeout 60s)
began=$(date +%s%N)
yes_ 'install --wait' "${H[@]}" install plant $chart "${V[@]}" --wait
echo "     it took $((($(date +%s%N) - began) / 1000000)) ms"
yes_ 'the notes hold a redis-cli line' bash -c "helm -n life get notes plant | grep -q -- '-e FCALL mffa_submit 0 pipeline'"
yes_ 'helm test runs the pod (here it only pretends)' "${H[@]}" test plant
yes_ 'upgrade --wait' "${H[@]}" upgrade plant $chart "${V[@]}" --set scheduler.replicas=3 --set logLevel=debug --wait
yes_ 'more schedulers' eq "$(kubectl get deploy plant-mffa-scheduler -n life -o jsonpath='{.status.readyReplicas}')" 3
not_ 'an upgrade whose pods never get ready, --atomic' helm -n life --timeout 8s upgrade plant $chart "${V[@]}" --atomic \
  --set logLevel=warn --set-string 'scheduler.podLabels.kwok\.test/not-ready=1'
level() { kubectl get deploy plant-mffa-scheduler -n life -o jsonpath='{.spec.template.spec.containers[0].env[?(@.name=="MFFA_LOG_LEVEL")].value}'; }
yes_ 'was rolled back by itself' eq "$(level)" debug
yes_ 'rollback 1 --wait' "${H[@]}" rollback plant 1 --wait
yes_ 'the first settings are back' eq "$(level)" info
yes_ 'a pod has no token of the API server' eq "$(kubectl get pods -n life -o json | grep -c kube-api-access || :)" 0
yes_ 'the service account may read no secrets' eq "$(kubectl auth can-i --as=system:serviceaccount:life:plant-mffa get secrets -n life || :)" no
yes_ 'nor list pods' eq "$(kubectl auth can-i --as=system:serviceaccount:life:plant-mffa list pods -n life || :)" no
yes_ 'the pod gets 15 s more than its checkpoint' eq "$(kubectl get deploy plant-mffa-worker-default -n life -o jsonpath='{.spec.template.spec.terminationGracePeriodSeconds}')" 35

# ---- drain: the disruption budget holds one back ----
yes_ 'three schedulers again' "${H[@]}" upgrade plant $chart "${V[@]}" --set scheduler.replicas=2 --wait
allowed() { kubectl get pdb plant-mffa-scheduler -n life -o jsonpath='{.status.disruptionsAllowed}'; }
one_allowed() { [ "$(allowed)" = 1 ]; }
yes_ 'the budget allows one' eventually one_allowed
first=$(kubectl get pods -n life -l app.kubernetes.io/component=scheduler -o jsonpath='{.items[0].metadata.name}')
evict() { printf '{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "%s", "namespace": "life"}}' "$1" | kubectl create --raw "/api/v1/namespaces/life/pods/$1/eviction" -f -; }
for node in $(kubectl get nodes -o name); do kubectl cordon "$node" >/dev/null; done
yes_ 'one scheduler may be evicted' evict "$first"
none_allowed() { [ "$(allowed)" = 0 ]; }
yes_ 'then the budget is used up (its replacement has no node)' eventually none_allowed
second=$(kubectl get pods -n life -l app.kubernetes.io/component=scheduler --field-selector=status.phase=Running -o jsonpath='{.items[0].metadata.name}')
not_ 'the other one may not' evict "$second"
for node in $(kubectl get nodes -o name); do kubectl uncordon "$node" >/dev/null; done
yes_ 'uninstall' "${H[@]}" uninstall plant --wait
left() { kubectl get deploy,sts,svc,cm,secret,pdb,netpol,sa,scaledobjects,scaledjobs -n life -l app.kubernetes.io/instance=plant -o name; }
yes_ 'nothing is left' eq "$(left)" ''

# ---- GPUs: a pool waits without its toleration and is scheduled with it ----
namespace gpu
G=(--set redis.url=redis://r --set scheduler.image.repository=s --set workerDefaults.image.repository=w --set 'workers[0].name=gpu' --set 'workers[0].gpu.count=1'
  --set 'workers[0].resources.requests.memory=1Gi')
yes_ 'a GPU pool without its toleration' helm -n gpu install plant $chart "${G[@]}"
phase() { kubectl get pods -n gpu -l app.kubernetes.io/component=worker -o jsonpath='{.items[*].status.phase}'; }
unschedulable() { kubectl get pods -n gpu -l app.kubernetes.io/component=worker -o jsonpath='{.items[*].status.conditions[?(@.type=="PodScheduled")].reason}' | grep -q Unschedulable; }
yes_ 'it stays pending' eventually unschedulable
yes_ 'the toleration is given' helm -n gpu upgrade plant $chart "${G[@]}" --set 'workers[0].tolerations[0].key=nvidia.com/gpu' \
  --set 'workers[0].tolerations[0].operator=Exists' --wait --timeout 60s
yes_ 'it runs, on the GPU node' eq "$(kubectl get pods -n gpu -l app.kubernetes.io/component=worker --field-selector=status.phase=Running -o jsonpath='{.items[*].spec.nodeName}')" gpu-0
finish
