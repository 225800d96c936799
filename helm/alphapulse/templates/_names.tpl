{{/* Prefix of all names: of Services too, which may have no dots, as releases may. */}}
{{- define "alphapulse.fullname" -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 34 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name $release -}}
{{- $release | trunc 34 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" $release $name | trunc 34 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What selects all pods of a release. */}}
{{- define "alphapulse.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object, but those of the operators: they hand labels on to pods, which our policies would catch. */}}
{{- define "alphapulse.labels" -}}
{{ include "alphapulse.selector" . }}
{{ include "alphapulse.origin" . }}
{{- end -}}

{{- define "alphapulse.origin" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: alphapulse
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* metadata of an object: (dict "root" $ "name" SUFFIX "component" NAME "annotations" MAP "labels" MAP). */}}
{{- define "alphapulse.metadata" -}}
name: {{ include "alphapulse.fullname" .root }}{{ with .name }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "alphapulse.labels" .root | nindent 2 }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Image with tag or digest. */}}
{{- define "alphapulse.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of the operators' objects. */}}
{{- define "alphapulse.redpanda" -}}
{{- include "alphapulse.fullname" . }}-redpanda
{{- end -}}
{{- define "alphapulse.chi" -}}
{{- include "alphapulse.fullname" . }}-ch
{{- end -}}
