{{- define "mffa.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "mffa.selector" -}}
app.kubernetes.io/name: mffa
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mffa.labels" -}}
{{ include "mffa.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Annotations of an object: "root", "own" (may be left out); nothing where there are none */}}
{{- define "mffa.annotations" -}}
{{- with merge (deepCopy (.own | default dict)) .root.Values.commonAnnotations -}}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "mffa.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "mffa.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* "root", "image", "target" (of docker/Dockerfile), "what" (the value's path) */}}
{{- define "mffa.image" -}}
{{- $registry := .root.Values.global.imageRegistry }}
{{- $repository := .image.repository | default (ternary (printf "%s/mffa-%s" $registry .target) "" (ne $registry "")) }}
{{- if not $repository }}
{{- fail (printf "\n\n%s.repository is not set, and no image is published: build one and push it to a registry of yours\n\n  docker build -f docker/Dockerfile --target %s -t REGISTRY/mffa-%s:%s .\n  docker push REGISTRY/mffa-%s:%s\n\nthen give --set global.imageRegistry=REGISTRY, or --set %s.repository=REGISTRY/mffa-%s\n" .what .target .target .root.Chart.AppVersion .target .root.Chart.AppVersion .what .target) }}
{{- end }}
{{- if .image.digest }}{{ $repository }}@{{ .image.digest }}{{ else }}{{ $repository }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "mffa.redisUrl" -}}
{{- if .Values.redis.url }}{{ .Values.redis.url }}
{{- else if .Values.redis.bundled.enabled }}redis://{{ include "mffa.name" . }}-redis:6379
{{- else }}{{ fail "\n\nredis.url is not set: give the address of your Redis, --set redis.url=redis://host:6379, or --set redis.bundled.enabled=true to try things out\n" }}{{ end }}
{{- end }}

{{- /* The hosts of redis.url with their ports: host:port,host:port. A URL's parser takes one host alone */}}
{{- define "mffa.redisHosts" -}}
{{- $url := include "mffa.redisUrl" . }}
{{- $port := ternary 26379 6379 (contains "+sentinel://" $url) }}
{{- $hosts := list }}
{{- range splitList "," ($url | regexFind "://[^/]*" | trimPrefix "://" | regexFind "[^@]*$") }}
{{- $hosts = append $hosts (ternary . (printf "%s:%d" . $port) (regexMatch ":[0-9]+$" .)) }}
{{- end }}
{{- join "," $hosts }}
{{- end }}

{{- /* What a person gives is stronger; the images are for x86-64 alone */}}
{{- define "mffa.nodeSelector" -}}
{{- toYaml (merge (deepCopy .) (dict "kubernetes.io/arch" "amd64")) }}
{{- end }}

{{- define "mffa.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* name: value pairs as a container's variables */}}
{{- define "mffa.settings" -}}
{{- range $name, $value := . }}
- {name: {{ $name }}, value: {{ ternary ($value | int64 | toString) ($value | toString) (and (kindIs "float64" $value) (eq (floor $value) $value)) | quote }}}
{{- end }}
{{- end }}

{{- /* What KEDA needs to reach Redis, as secretTargetRef's list; "" for nothing */}}
{{- define "mffa.kedaSecrets" -}}
{{- with .Values.redis }}
{{- if .existingSecret }}
- {parameter: password, name: {{ .existingSecret }}, key: {{ .passwordKey }}}
{{- end }}
{{- if .caSecret }}
- {parameter: ca, name: {{ .caSecret }}, key: {{ .caKey }}}
{{- end }}
{{- if .clientSecret }}
- {parameter: cert, name: {{ .clientSecret }}, key: tls.crt}
- {parameter: key, name: {{ .clientSecret }}, key: tls.key}
{{- end }}
{{- end }}
{{- end }}

{{- define "mffa.redisEnv" -}}
- {name: MFFA_REDIS_URL, value: {{ include "mffa.redisUrl" . | quote }}}
{{- if .Values.redis.existingSecret }}
- {name: MFFA_REDIS_PASSWORD_FILE, value: /etc/mffa/redis/password}
{{- end }}
{{- if .Values.redis.caSecret }}
- {name: MFFA_REDIS_CA_FILE, value: /etc/mffa/redis-ca/ca.crt}
{{- end }}
{{- if .Values.redis.clientSecret }}
- {name: MFFA_REDIS_CERT_FILE, value: /etc/mffa/redis-client/tls.crt}
- {name: MFFA_REDIS_KEY_FILE, value: /etc/mffa/redis-client/tls.key}
{{- end }}
- {name: MFFA_QUEUE, value: {{ .Values.queue | quote }}}
- {name: MFFA_LOG_LEVEL, value: {{ .Values.logLevel | quote }}}
{{- end }}

{{- define "mffa.redisMount" -}}
{{- if .Values.redis.existingSecret }}
- {name: redis-password, mountPath: /etc/mffa/redis, readOnly: true}
{{- end }}
{{- if .Values.redis.caSecret }}
- {name: redis-ca, mountPath: /etc/mffa/redis-ca, readOnly: true}
{{- end }}
{{- if .Values.redis.clientSecret }}
- {name: redis-client, mountPath: /etc/mffa/redis-client, readOnly: true}
{{- end }}
{{- end }}

{{- define "mffa.redisVolume" -}}
{{- if .Values.redis.existingSecret }}
- name: redis-password
  secret:
    secretName: {{ .Values.redis.existingSecret }}
    defaultMode: 0440
    items: [{key: {{ .Values.redis.passwordKey }}, path: password}]
{{- end }}
{{- if .Values.redis.caSecret }}
- name: redis-ca
  secret:
    secretName: {{ .Values.redis.caSecret }}
    defaultMode: 0440
    items: [{key: {{ .Values.redis.caKey }}, path: ca.crt}]
{{- end }}
{{- if .Values.redis.clientSecret }}
- name: redis-client
  secret:
    secretName: {{ .Values.redis.clientSecret }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "mffa.s3Env" -}}
{{- with .Values.s3 }}
{{- if .endpoint }}
- {name: AWS_ENDPOINT_URL_S3, value: {{ .endpoint | quote }}}
{{- end }}
{{- if .region }}
- {name: AWS_REGION, value: {{ .region | quote }}}
{{- end }}
{{- if ne .style "auto" }}
- {name: MFFA_S3_STYLE, value: {{ .style }}}
{{- end }}
{{- if .caConfigMap }}
- {name: AWS_CA_BUNDLE, value: /etc/mffa/ca/ca.crt}
{{- end }}
{{- if .existingSecret }}
- {name: AWS_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: AWS_ACCESS_KEY_ID}}}
- {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: AWS_SECRET_ACCESS_KEY}}}
- {name: AWS_SESSION_TOKEN, valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: AWS_SESSION_TOKEN, optional: true}}}
{{- end }}
{{- end }}
{{- end }}

{{- define "mffa.s3Mount" -}}
{{- if .Values.s3.caConfigMap }}
- {name: s3-ca, mountPath: /etc/mffa/ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "mffa.s3Volume" -}}
{{- if .Values.s3.caConfigMap }}
- name: s3-ca
  configMap:
    name: {{ .Values.s3.caConfigMap }}
    items: [{key: {{ .Values.s3.caKey }}, path: ca.crt}]
{{- end }}
{{- end }}

{{- define "mffa.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe: # the main loop comes round; Redis may be away
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe: # it does its work
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- /* What a pool is: its own fields over workerDefaults, those of these five groups one by one (mergeOverwrite would take no 0 and no ""
       over a default); "root", "pool" */}}
{{- define "mffa.pool" -}}
{{- $pool := deepCopy .root.Values.workerDefaults }}
{{- range $name, $value := .pool }}
{{- if has $name (list "image" "gpu" "cache" "autoscaling" "settings") }}
{{- range $member, $own := $value }}{{ $_ := set (get $pool $name) $member $own }}{{ end }}
{{- else }}{{ $_ := set $pool $name $value }}{{ end }}
{{- end }}
{{- if not $pool.pool }}{{ $_ := set $pool "pool" .pool.name }}{{ end -}}
{{- toYaml $pool }}
{{- end }}
