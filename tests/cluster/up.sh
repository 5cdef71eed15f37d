#!/bin/bash
# A real Kubernetes control plane on loopback, with faked nodes.  Usage: up.sh
# Leaves: $KUBE_DIR/admin.conf (KUBECONFIG), $KUBE_DIR/pids; stop with down.sh.
#   KUBE_BIN  where build.sh put its binaries
#   KUBE_DIR  state (made new; must not hold a running one)
#   KUBE_PORT first of the loopback ports used (6 of them)
#   KUBE_PARTS=api   only etcd + kube-apiserver (enough for dry runs)
set -euo pipefail
KUBE_BIN=${KUBE_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/mffa/kube/bin}; KUBE_DIR=${KUBE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/mffa/kube/run}
P=${KUBE_PORT:-16443}; PARTS=${KUBE_PARTS:-all}
export PATH=$KUBE_BIN:$PATH
[ ! -e "$KUBE_DIR/pids" ] || { echo "cluster: $KUBE_DIR/pids exists, run down.sh" >&2; exit 1; }
rm -rf "$KUBE_DIR"; mkdir -p -m 700 "$KUBE_DIR"; cd "$KUBE_DIR"; : > pids

# --- certificates, keys, tokens -------------------------------------------------
q() { "$@" 2>>openssl.log; }
q openssl ecparam -genkey -name prime256v1 -noout -out ca.key
q openssl req -x509 -new -key ca.key -subj /CN=kube-test-ca -days 2 -out ca.crt
q openssl ecparam -genkey -name prime256v1 -noout -out api.key
q openssl req -new -key api.key -subj /CN=kube-apiserver -out api.csr
printf 'subjectAltName=IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc\nextendedKeyUsage=serverAuth\n' > san
q openssl x509 -req -in api.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out api.crt
q openssl req -newkey rsa:2048 -nodes -subj /CN=front-proxy -keyout proxy.key -out proxy.csr # what it shows to API servers behind it
q openssl x509 -req -in proxy.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out proxy.crt
q openssl genrsa -out sa.key 2048; q openssl rsa -in sa.key -pubout -out sa.pub
: > tokens.csv; chmod 600 tokens.csv
conf() { # file user groups
  local t; t=$(openssl rand -hex 16)
  printf '%s,%s,%s,"%s"\n' "$t" "$2" "$2" "$3" >> tokens.csv
  cat > "$1" <<C
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:$P", certificate-authority: "$KUBE_DIR/ca.crt"}}]
users: [{name: u, user: {token: $t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
C
  chmod 600 "$1"; }
conf admin.conf admin system:masters
conf kcm.conf system:kube-controller-manager ''
conf sched.conf system:kube-scheduler ''

start() { local n=$1; shift; setsid "$@" > "$n.log" 2>&1 < /dev/null & echo "$! $n" >> pids; }
wait_for() { # seconds what command...
  local n=$(( $1 * 10 )) what=$2 i; shift 2
  for ((i = 0; i < n; i++)); do "$@" > /dev/null 2>&1 && return 0; sleep 0.1; done
  echo "cluster: $what not ready; logs in $KUBE_DIR" >&2; tail -n 5 ./*.log >&2; exit 1; }
k() { kubectl --kubeconfig admin.conf "$@"; }

# --- etcd, kube-apiserver -------------------------------------------------------
E=http://127.0.0.1:$((P + 1)); EP=http://127.0.0.1:$((P + 2))
start etcd etcd --name t --data-dir "$KUBE_DIR/etcd-data" --unsafe-no-fsync --log-level warn \
  --listen-client-urls $E --advertise-client-urls $E \
  --listen-peer-urls $EP --initial-advertise-peer-urls $EP --initial-cluster t=$EP
start kube-apiserver kube-apiserver --etcd-servers $E \
  --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port $P --endpoint-reconciler-type none \
  --tls-cert-file api.crt --tls-private-key-file api.key --token-auth-file tokens.csv \
  --service-account-issuer https://kubernetes.default.svc --service-account-key-file sa.pub \
  --service-account-signing-key-file sa.key --service-cluster-ip-range 10.96.0.0/16 \
  --requestheader-client-ca-file ca.crt --requestheader-allowed-names front-proxy --requestheader-username-headers X-Remote-User \
  --requestheader-group-headers X-Remote-Group --requestheader-extra-headers-prefix X-Remote-Extra- \
  --proxy-client-cert-file proxy.crt --proxy-client-key-file proxy.key \
  --authorization-mode Node,RBAC --anonymous-auth=false --allow-privileged=true --profiling=false
wait_for 60 kube-apiserver k get --raw /readyz
[ "$PARTS" = all ] || { echo "KUBECONFIG=$KUBE_DIR/admin.conf"; exit 0; }

# --- controllers, scheduler, fake nodes -----------------------------------------
start kube-controller-manager kube-controller-manager --kubeconfig kcm.conf --leader-elect=false \
  --bind-address 127.0.0.1 --secure-port $((P + 3)) --use-service-account-credentials \
  --service-account-private-key-file sa.key --root-ca-file ca.crt
start kube-scheduler kube-scheduler --kubeconfig sched.conf --leader-elect=false \
  --bind-address 127.0.0.1 --secure-port $((P + 4))
# Own rules beside kwok's: a bare Pod that never restarts ends (helm test hooks), with
# exit 1 where it is annotated kwok.test/fail; a Pod labelled kwok.test/not-ready stays so.
awk '/name: pod-ready$/ {r=1} {print} r && /matchExpressions:/ {r=0
  print "    - key: \x27.metadata.labels.[\"kwok.test/not-ready\"]\x27\n      operator: DoesNotExist"}' \
  "$KUBE_BIN/kwok-stages.yaml" > stages.yaml
for how in DoesNotExist:0:Completed:Succeeded Exists:1:Error:Failed; do
  IFS=: read -r op code reason phase <<< "$how"
  cat >> stages.yaml <<S
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: bare-pod-${phase,,}}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: .metadata.deletionTimestamp, operator: DoesNotExist}
    - {key: .status.phase, operator: In, values: [Running]}
    - {key: .spec.restartPolicy, operator: In, values: [Never]}
    - {key: '.metadata.ownerReferences.[].kind', operator: DoesNotExist}
    - {key: '.metadata.annotations.["kwok.test/fail"]', operator: $op}
  next:
    statusTemplate: |
      {{ \$now := Now }}
      containerStatuses:
      {{ range .spec.containers }}
      - name: {{ .name | Quote }}
        image: {{ .image | Quote }}
        ready: false
        started: false
        restartCount: 0
        state:
          terminated: {exitCode: $code, reason: $reason, startedAt: {{ \$now | Quote }}, finishedAt: {{ \$now | Quote }}}
      {{ end }}
      phase: $phase
S
done
start kwok kwok --kubeconfig admin.conf --config stages.yaml --manage-nodes-with-annotation-selector kwok.x-k8s.io/node=fake \
  --cidr 10.0.0.0/16 --node-ip 127.0.0.1 --node-lease-duration-seconds 40 \
  --node-port 0 --server-address 127.0.0.1:$((P + 5))
{ for n in cpu-0 cpu-1 gpu-0; do
    g=; t=; [ $n != gpu-0 ] || { g=', nvidia.com/gpu: 2'; t='spec: {taints: [{key: nvidia.com/gpu, effect: NoSchedule}]}'; }
    cat <<N
---
apiVersion: v1
kind: Node
metadata: {name: $n, annotations: {kwok.x-k8s.io/node: fake}, labels: {kubernetes.io/hostname: $n, kubernetes.io/os: linux, kubernetes.io/arch: amd64}}
$t
status: {allocatable: {cpu: 8, memory: 32Gi, pods: 110$g}, capacity: {cpu: 8, memory: 32Gi, pods: 110$g}}
N
  done
  cat <<'N'
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fake, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
N
  for i in $(seq 20); do cat <<N
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-$i}
spec: {storageClassName: fake, capacity: {storage: 100Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /nonexistent/pv-$i}}
N
  done; } > objects.yaml
k create -f objects.yaml > create.log
wait_for 60 nodes k wait --for=condition=Ready node --all --timeout=1s
wait_for 60 'default service account' k get sa default
echo "KUBECONFIG=$KUBE_DIR/admin.conf"
