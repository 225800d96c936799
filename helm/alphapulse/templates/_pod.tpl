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

{{/* Where a pod runs, and what it needs for its image: (dict "root" $ "values" SECTION). */}}
{{- define "alphapulse.placement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
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

{{/* Where the volumes of every pod are mounted: (dict "files" FILES), and the volumes: (dict "root" $ "config" CONFIGMAP "files" FILES). */}}
{{- define "alphapulse.mounts" -}}
- name: config
  mountPath: /etc/alphapulse
  readOnly: true
- name: data
  mountPath: /data
- name: tmp
  mountPath: /tmp
{{- include "alphapulse.filesMount" .files }}
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
{{- include "alphapulse.filesVolume" .files }}
{{- end -}}

{{/* Pod template of a service: (dict "root" $ "component" ITEM). */}}
{{- define "alphapulse.podTemplate" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $values := $component.values -}}
{{- $files := include "alphapulse.files" (dict "root" $root "name" $component.name "venue" $component.venue "values" $values) | fromYamlArray -}}
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
  {{- with include "alphapulse.placement" (dict "root" $root "values" $values) | trim }}
  {{- . | nindent 2 }}
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
        {{- include "alphapulse.env" (dict "root" $root "files" $files "component" $component.name "values" $values) | nindent 8 }}
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
        {{- include "alphapulse.mounts" (dict "files" $files) | nindent 8 }}
        {{- if eq $component.kind "StatefulSet" }}
        - name: parquet
          mountPath: /parquet
        {{- end }}
  volumes:
    {{- include "alphapulse.volumes" (dict "root" $root "config" (printf "%s-config" (include "alphapulse.fullname" $root)) "files" $files) | nindent 4 }}
    {{- if eq $component.kind "StatefulSet" }}
    {{- with $values.persistence.existingClaim }}
    - name: parquet
      persistentVolumeClaim:
        claimName: {{ . }}
    {{- end }}
    {{- end }}
{{- end -}}

{{/* Pod template of the Job: (dict "root" $ "name" SERVICEACCOUNT "config" CONFIGMAP). */}}
{{- define "alphapulse.initPod" -}}
{{- $files := include "alphapulse.files" (dict "root" .root "name" "init" "values" .root.Values.init) | fromYamlArray -}}
metadata:
  labels:
    {{- include "alphapulse.labels" .root | nindent 4 }}
    app.kubernetes.io/component: init
    alphapulse.io/group: init
    {{- with .root.Values.init.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/services: {{ include "alphapulse.services" .root | sha256sum }}
    {{- with .root.Values.init.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ .name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  restartPolicy: Never
  securityContext:
    {{- include "alphapulse.podSecurityContext" .root | nindent 4 }}
  {{- with include "alphapulse.placement" (dict "root" .root "values" .root.Values.init) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - {{- include "alphapulse.container" (dict "root" .root "name" "init" "args" (list "init" "--wait" (toString .root.Values.init.waitSeconds)) "resources" .root.Values.init.resources) | nindent 6 }}
      env:
        {{- include "alphapulse.env" (dict "root" .root "files" $files "component" "init" "values" .root.Values.init) | nindent 8 }}
      volumeMounts:
        {{- include "alphapulse.mounts" (dict "files" $files) | nindent 8 }}
  volumes:
    {{- include "alphapulse.volumes" (dict "root" .root "config" .config "files" $files) | nindent 4 }}
{{- end -}}
