{{/* Security of a pod and of a container, as the Pod Security Standard "restricted" wants them. */}}
{{- define "alphapulse.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .Values.podSecurity.runAsUser }}
runAsGroup: {{ .Values.podSecurity.runAsGroup }}
fsGroup: {{ .Values.podSecurity.fsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "alphapulse.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Container: (dict "root" $ "name" NAME "args" LIST "env" YAML "resources" MAP); volumes beside: alphapulse.mounts. */}}
{{- define "alphapulse.container" -}}
name: {{ .name }}
image: {{ include "alphapulse.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args:
  {{- toYaml .args | nindent 2 }}
securityContext:
  {{- include "alphapulse.containerSecurityContext" .root | nindent 2 }}
resources:
  {{- toYaml .resources | nindent 2 }}
{{- end -}}

{{/* Volumes of every pod, and where they are mounted. */}}
{{- define "alphapulse.mounts" -}}
- name: config
  mountPath: /etc/alphapulse
  readOnly: true
- name: data
  mountPath: /data
- name: tmp
  mountPath: /tmp
{{- if (include "alphapulse.kafkaCa" . | fromYaml).name }}
- name: kafka-ca
  mountPath: /etc/alphapulse-kafka
  readOnly: true
{{- end }}
{{- end -}}

{{- define "alphapulse.volumes" -}}
- name: config
  configMap:
    name: {{ .config }}
- name: data
  emptyDir:
    sizeLimit: {{ .root.Values.scratch.sizeLimit }}
- name: tmp
  emptyDir:
    sizeLimit: {{ .root.Values.scratch.sizeLimit }}
{{- with (include "alphapulse.kafkaCa" .root | fromYaml) }}
{{- if .name }}
- name: kafka-ca
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    items:
      - key: {{ .key }}
        path: ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/* Files of the gateway's access, from Secrets: not writable by others, or it refuses them. */}}
{{- define "alphapulse.accessMounts" -}}
{{- with .Values.gateway.access }}
{{- if .keysSecret.name }}
- name: access
  mountPath: /etc/alphapulse-access
  readOnly: true
{{- end }}
{{- if .publicKeySecret.name }}
- name: issuer
  mountPath: /etc/alphapulse-issuer
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{- define "alphapulse.accessVolumes" -}}
{{- with .Values.gateway.access }}
{{- if .keysSecret.name }}
- name: access
  secret:
    secretName: {{ .keysSecret.name }}
    defaultMode: 0440
    items:
      - key: {{ .keysSecret.key }}
        path: keys.json
{{- end }}
{{- if .publicKeySecret.name }}
- name: issuer
  secret:
    secretName: {{ .publicKeySecret.name }}
    defaultMode: 0440
    items:
      - key: {{ .publicKeySecret.key }}
        path: issuer.pem
{{- end }}
{{- end }}
{{- end -}}

{{/* Pod template of a service: (dict "root" $ "component" ITEM). */}}
{{- define "alphapulse.podTemplate" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $values := $component.values -}}
metadata:
  labels:
    {{- include "alphapulse.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $component.name }}
    alphapulse.io/group: {{ $component.group }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/services: {{ include "alphapulse.services" $root | sha256sum }}
    {{- if or (has $component.group (list "processors" "gateway")) (and (eq $component.group "collectors") $values.restartOnVenueChange) }}
    checksum/exchanges: {{ include "alphapulse.exchanges" $root | sha256sum }}
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "alphapulse.fullname" $root }}-{{ $component.name }}
  automountServiceAccountToken: false
  # Kubernetes' own variables (ALPHAPULSE_GATEWAY_PORT=tcp://…) would be taken for settings, and refused.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "alphapulse.grace" (dict "component" $component) }}
  securityContext:
    {{- include "alphapulse.podSecurityContext" $root | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $root.Values.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: {{ $root.Values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "alphapulse.selector" $root | nindent 10 }}
          alphapulse.io/group: {{ $component.group }}
    {{- end }}
  {{- end }}
  containers:
    - {{- include "alphapulse.container" (dict "root" $root "name" $component.name "args" $component.args "resources" $values.resources) | nindent 6 }}
      env:
        {{- include "alphapulse.env" (dict "root" $root "name" $component.name "venue" $component.venue "values" $values) | nindent 8 }}
      ports:
        - name: ops
          containerPort: 9100
          protocol: TCP
        {{- if eq $component.name "gateway" }}
        - name: http
          containerPort: {{ $values.port }}
          protocol: TCP
        {{- end }}
      # Alive: its loop answers. What it waits for is said by /ready, and no reason to restart it.
      startupProbe:
        httpGet: { path: /health, port: ops }
        periodSeconds: 2
        timeoutSeconds: 3
        failureThreshold: 45
      livenessProbe:
        httpGet: { path: /health, port: ops }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /ready, port: ops }
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      {{- if $component.preStop }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ $component.preStop }}
      {{- end }}
      volumeMounts:
        {{- include "alphapulse.mounts" $root | nindent 8 }}
        {{- if eq $component.name "gateway" }}
        {{- include "alphapulse.accessMounts" $root | nindent 8 }}
        {{- end }}
        {{- if eq $component.name "sink-parquet" }}
        - name: parquet
          mountPath: /parquet
        {{- end }}
  volumes:
    {{- include "alphapulse.volumes" (dict "root" $root "config" (printf "%s-config" (include "alphapulse.fullname" $root))) | nindent 4 }}
    {{- if eq $component.name "gateway" }}
    {{- include "alphapulse.accessVolumes" $root | nindent 4 }}
    {{- end }}
    {{- if eq $component.name "sink-parquet" }}
    {{- with $values.persistence.existingClaim }}
    - name: parquet
      persistentVolumeClaim:
        claimName: {{ . }}
    {{- end }}
    {{- end }}
{{- end -}}

{{/* Pod template of the Job: (dict "root" $ "name" SERVICEACCOUNT "config" CONFIGMAP). */}}
{{- define "alphapulse.initPod" -}}
metadata:
  labels:
    {{- include "alphapulse.labels" .root | nindent 4 }}
    app.kubernetes.io/component: init
    alphapulse.io/group: init
  annotations:
    checksum/services: {{ include "alphapulse.services" .root | sha256sum }}
spec:
  serviceAccountName: {{ .name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  restartPolicy: Never
  securityContext:
    {{- include "alphapulse.podSecurityContext" .root | nindent 4 }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - {{- include "alphapulse.container" (dict "root" .root "name" "init" "args" (list "init" "--wait" (toString .root.Values.init.waitSeconds)) "resources" .root.Values.init.resources) | nindent 6 }}
      env:
        {{- include "alphapulse.env" (dict "root" .root "name" "init" "values" .root.Values.init) | nindent 8 }}
      volumeMounts:
        {{- include "alphapulse.mounts" .root | nindent 8 }}
  volumes:
    {{- include "alphapulse.volumes" (dict "root" .root "config" .config) | nindent 4 }}
{{- end -}}
