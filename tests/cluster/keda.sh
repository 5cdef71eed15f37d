#!/usr/bin/env bash
# Autoscaling for real: KEDA's own operator and metrics server (built from their Go module) beside the API server, whose autoscaler asks
# them, and a real Redis. A pool's Deployment comes up from nothing by submitted jobs, up to its most workers, and goes down again behind
# them; a pool of one-job workers (keda-job) gets a Job for each. Pods are processes (node.py). keda.sh BIN
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=$(realpath "${1:?folder of the programs}")
. tests/cluster/tools.sh
cluster_has_go || { echo "keda: skipped, Go 1.26 is not at hand (the API server and KEDA are built with it)"; exit 77; }
cluster_tools
keda_tools
name=keda
. tests/cluster/plant.sh
plant_start mffa-scheduler:new="$bin/mffa-scheduler" mffa-worker:new="$bin/mffa-worker"

# ---- KEDA, as its own manifests have it: two programs, certificates for the way between them, the API server's way to them ----
kubectl create ns keda >/dev/null
keda_definitions >/dev/null
q() { openssl "$@" 2>>"$tmp/openssl.log"; }
mkdir "$tmp/certs"
q req -x509 -newkey rsa:2048 -nodes -subj /CN=keda-test-ca -days 2 -keyout "$tmp/ca.key" -out "$tmp/certs/ca.crt"
q req -newkey rsa:2048 -nodes -subj /CN=keda -keyout "$tmp/certs/tls.key" -out "$tmp/tls.csr"
q x509 -req -in "$tmp/tls.csr" -CA "$tmp/certs/ca.crt" -CAkey "$tmp/ca.key" -CAcreateserial -days 2 -out "$tmp/certs/tls.crt" \
  -extfile <(echo 'subjectAltName=DNS:localhost,DNS:keda-metrics-apiserver.keda.svc')
read -r -a ports <<<"$(python3 -c 'import socket
all = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(s.getsockname()[1] for s in all))')"
export POD_NAMESPACE=keda KEDA_CLUSTER_OBJECT_NAMESPACE=keda WATCH_NAMESPACE=''
keda-operator --cert-dir "$tmp/certs" --metrics-service-bind-address "127.0.0.1:${ports[0]}" --enable-prometheus-metrics=false \
  --health-probe-bind-address "127.0.0.1:${ports[1]}" >"$tmp/node/keda-operator.log" 2>&1 &
plant_pids+=($!)
keda-adapter --cert-dir "$tmp/certs" --tls-cert-file "$tmp/certs/tls.crt" --tls-private-key-file "$tmp/certs/tls.key" \
  --secure-port "${ports[2]}" --port "${ports[3]}" --metrics-service-address "localhost:${ports[0]}" --lister-kubeconfig "$KUBECONFIG" \
  --authentication-kubeconfig "$KUBECONFIG" --authorization-kubeconfig "$KUBECONFIG" >"$tmp/node/keda-adapter.log" 2>&1 &
plant_pids+=($!)
kubectl create -f - >/dev/null <<EOT2
apiVersion: v1
kind: Service
metadata: {name: keda-metrics-apiserver, namespace: keda}
spec: {type: ExternalName, externalName: localhost, ports: [{port: ${ports[2]}}]}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.external.metrics.k8s.io}
spec:
  service: {name: keda-metrics-apiserver, namespace: keda, port: ${ports[2]}}
  group: external.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  caBundle: $(base64 -w0 <"$tmp/certs/ca.crt")
EOT2
expect "KEDA's operator is ready" eventually curl -sf "http://127.0.0.1:${ports[1]}/readyz"
expect "the API server serves KEDA's metrics" \
  kubectl wait --for=condition=Available apiservice/v1beta1.external.metrics.k8s.io --timeout=60s

# ---- two pools without work ----
kubectl create ns plant >/dev/null
kubectl create secret generic redis -n plant --from-literal=password="$password" >/dev/null
kubectl create secret generic s3 -n plant --from-literal=AWS_ACCESS_KEY_ID="$S3_OWNER_KEY" \
  --from-literal=AWS_SECRET_ACCESS_KEY="$S3_OWNER_SECRET" >/dev/null
cat >"$tmp/values.yaml" <<EOT2
redis: {url: "redis://127.0.0.1:$port", existingSecret: redis}
s3: {endpoint: "$S3_ENDPOINT", region: $S3_REGION, existingSecret: s3}
scheduler: {image: {repository: mffa-scheduler, tag: new}}
workerDefaults:
  image: {repository: mffa-worker, tag: new}
  settings: {MFFA_THREADS: 1, MFFA_BEAT_MS: 500}
  allowedUrls: ["s3://plant"]
workers:
  - {name: many, autoscaling: {type: keda, max: 3, pollingSeconds: 3, cooldownSeconds: 5}}
  - {name: each, autoscaling: {type: keda-job, max: 2, pollingSeconds: 3, authenticationRef: counting}}
EOT2
# the second one's KEDA comes as a Redis user with the rights that the queue's page gives it, and no others
rights=$(sed -n 's/^user autoscaler //p' scheduler/functions/README.md)
eval "cli -e ACL SETUSER autoscaler reset on '>$password' $rights" >/dev/null
kubectl create secret generic counting -n plant --from-literal=username=autoscaler --from-literal=password="$password" >/dev/null
kubectl create -f - >/dev/null <<EOT2
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: counting, namespace: plant}
spec: {secretTargetRef: [{parameter: username, name: counting, key: username}, {parameter: password, name: counting, key: password}]}
EOT2
expect 'two pools are installed' helm -n plant --timeout 120s install plant helm/mffa -f "$tmp/values.yaml"
replicas() { kubectl get deploy plant-mffa-worker-many -n plant -o jsonpath="{.$1}"; }
none() { [ "$(replicas spec.replicas)" = 0 ] && [ -z "$(kubectl get pods -n plant -l mffa/pool=many -o name)" ]; }
expect 'the Deployment goes down to nothing' eventually none
ready_words='{.items[*].status.conditions[?(@.type=="Ready")].status}'
ready() { [ "$(kubectl get scaledobject,scaledjob -n plant -o jsonpath="$ready_words")" = 'True True' ]; }
expect 'ScaledObject and ScaledJob are ready' eventually ready

# ---- work comes and goes ----
"$bin/mffactl" sample "$tmp/sample" train 8 good 2 defects 2 side 64 >/dev/null
for part in dataset weights; do "$bin/mffactl" put "$tmp/sample/$part" "s3://plant/$part" >/dev/null; done
urls='dataset s3://plant/dataset weights s3://plant/weights output s3://plant/out'
# shellcheck disable=SC2086
submit() { cli -e --raw FCALL mffa_submit 0 finetune $urls side 64 "$@"; }
are_done() { for id in $ids; do [ "$(job_field "$id" state)" = done ] || return 1; done; }
ended() { for id in $ids; do case $(job_field "$id" state) in done | failed | dead) ;; *) return 1 ;; esac; done; }
total() { for id in $ids; do job_field "$id" "$1"; done | awk '{ n += $1 } END { print n + 0 }'; }
began=$SECONDS
ids=$(for seed in {1..6}; do submit pool many epochs 60 seed "$seed"; done)
first() { [ "$(replicas spec.replicas)" -ge 1 ]; }
expect 'the operator wakes the Deployment' eventually first
say "     it took $((SECONDS - began)) s"
three() { [ "$(replicas status.readyReplicas)" = 3 ]; }
expect 'the autoscaler, told by KEDA, brings it to its most workers' eventually three
say "     it took $((SECONDS - began)) s"
expect "the $(wc -w <<<"$ids") jobs end" eventually ended
began=$SECONDS
expect 'the Deployment goes down to nothing again' eventually none
say "     it took $((SECONDS - began)) s"
expect 'all are done' are_done
expect "none was lost, none failed; preempted: $(total preempted)" [ "$(total lost)$(total failures)" = 00 ]

ids=$(for seed in {1..3}; do submit pool each epochs 20 seed "$seed"; done)
expect 'three jobs of a pool of one-job workers end' eventually ended
expect 'all are done' are_done
succeeded() { [ "$(kubectl get jobs -n plant -o jsonpath='{.items[*].status.succeeded}')" = '1 1' ]; }
expect 'its last two workers, the ones that are kept, have succeeded' eventually succeeded
expect 'nothing was stopped by scaling' [ "$(total preempted)$(total lost)$(total failures)" = 000 ]
expect 'uninstall' helm -n plant --timeout 60s uninstall plant --wait
say "all passed"
