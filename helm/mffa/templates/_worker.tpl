{{- /* The pod of a pool: "root", "pool" (mffa.pool), "restart": Always, or Never for one that ends after a job */}}
{{- define "mffa.workerPod" -}}
{{- $root := .root }}
{{- $restart := .restart }}
{{- with .pool -}}
metadata:
  labels: {{- include "mffa.labels" $root | nindent 4 }}
    app.kubernetes.io/component: worker
    mffa/pool: {{ .name }}
    {{- with .podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with .podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "mffa.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  restartPolicy: {{ $restart }}
  terminationGracePeriodSeconds: {{ add .stopSeconds 15 }}
  securityContext: {{- toYaml $root.Values.podSecurityContext | nindent 4 }}
  {{- with $root.Values.hostAliases }}
  hostAliases: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with .priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  nodeSelector: {{- include "mffa.nodeSelector" .nodeSelector | nindent 4 }}
  {{- with .tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .topologySpreadConstraints }}
  topologySpreadConstraints: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .initContainers }}
  initContainers: {{- toYaml . | nindent 2 }}
  {{- end }}
  containers:
  - name: worker
    image: {{ include "mffa.image" (dict "root" $root "image" .image "target" (ternary "worker-cuda" "worker-cpu" (gt (int .gpu.count) 0)) "what" "workerDefaults.image") }}
    imagePullPolicy: {{ .image.pullPolicy }}
    env:
    {{- include "mffa.redisEnv" $root | nindent 4 }}
    - {name: MFFA_LISTEN, value: ":9464"}
    - {name: MFFA_POOL, value: {{ .pool | quote }}}
    {{- if .kinds }}
    - {name: MFFA_KINDS, value: {{ join "," .kinds | quote }}}
    {{- end }}
    - {name: MFFA_WORK_DIR, value: /work}
    - {name: MFFA_STOP_MS, value: {{ mul .stopSeconds 1000 | quote }}}
    {{- if .weights }}
    - {name: MFFA_WEIGHTS, value: {{ .weights | quote }}}
    {{- end }}
    {{- if .allowedUrls }}
    - {name: MFFA_ALLOWED_URLS, value: {{ join "," .allowedUrls | quote }}}
    {{- end }}
    {{- if eq $restart "Never" }}
    - {name: MFFA_ONCE, value: "1"}
    {{- end }}
    {{- with include "mffa.s3Env" $root | trim }}{{ . | nindent 4 }}{{ end }}
    {{- with include "mffa.settings" .settings | trim }}{{ . | nindent 4 }}{{ end }}
    {{- with .extraEnv }}{{ toYaml . | nindent 4 }}{{ end }}
    ports:
    - {name: metrics, containerPort: 9464}
    {{- include "mffa.probes" $root | nindent 4 }}
    resources: {{- include "mffa.resources" . | nindent 6 }}
    securityContext: {{- include "mffa.security" $root | nindent 6 }}
    volumeMounts:
    - {name: work, mountPath: /work}
    - {name: tmp, mountPath: /tmp}
    {{- with include "mffa.redisMount" $root | trim }}{{ . | nindent 4 }}{{ end }}
    {{- with include "mffa.s3Mount" $root | trim }}{{ . | nindent 4 }}{{ end }}
    {{- with .extraVolumeMounts }}{{ toYaml . | nindent 4 }}{{ end }}
  volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
  - name: work
    {{- if eq .cache.type "existingClaim" }}
    persistentVolumeClaim: {claimName: {{ required "cache.claimName is not set: name the claim of cache.type existingClaim" .cache.claimName }}}
    {{- else if eq .cache.type "ephemeral" }}
    ephemeral:
      volumeClaimTemplate:
        metadata:
          labels: {{- include "mffa.selector" $root | nindent 12 }}
        spec:
          accessModes: [ReadWriteOnce]
          {{- with .cache.storageClassName }}
          storageClassName: {{ . }}
          {{- end }}
          resources: {requests: {storage: {{ .cache.size }}}}
    {{- else }}
    emptyDir: {sizeLimit: {{ .cache.size }}}
    {{- end }}
  {{- with include "mffa.redisVolume" $root | trim }}{{ . | nindent 2 }}{{ end }}
  {{- with include "mffa.s3Volume" $root | trim }}{{ . | nindent 2 }}{{ end }}
  {{- with .extraVolumes }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
{{- end }}

{{- define "mffa.resources" -}}
{{- $r := deepCopy .resources }}
{{- if gt (int .gpu.count) 0 }}
{{- $_ := set $r "limits" (merge (dict .gpu.resource (int .gpu.count)) ($r.limits | default dict)) }}
{{- end }}
{{- toYaml $r }}
{{- end }}
