{{/* A value in TOML: JSON's texts, numbers, booleans and lists of them are TOML. */}}
{{- define "alphapulse.tomlKey" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* A table of TOML with its sub-tables: (dict "path" "gateway" "table" MAP). */}}
{{- define "alphapulse.toml" -}}
{{- $path := .path }}
[{{ $path }}]
{{- range $key, $value := .table }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "alphapulse.tomlKey" $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- if kindIs "map" $value }}
{{ include "alphapulse.toml" (dict "path" (printf "%s.%s" $path (include "alphapulse.tomlKey" $key)) "table" $value) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "alphapulse.bootstrap" -}}
{{- if .Values.redpanda.enabled -}}
{{- printf "%s.%s.svc:9093" (include "alphapulse.redpanda" .) .Release.Namespace -}}
{{- else -}}
{{- .Values.kafka.bootstrap -}}
{{- end -}}
{{- end -}}

{{- define "alphapulse.registryUrl" -}}
{{- if .Values.redpanda.enabled -}}
{{- printf "http://%s.%s.svc:8081" (include "alphapulse.redpanda" .) .Release.Namespace -}}
{{- else -}}
{{- .Values.registry.url -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the brokers' authority, as YAML {name, key}; name empty: none. Redpanda's operator makes its own. */}}
{{- define "alphapulse.kafkaCa" -}}
{{- if .Values.redpanda.enabled -}}
{{- toYaml (dict "name" (printf "%s-default-root-certificate" (include "alphapulse.redpanda" .)) "key" "ca.crt") -}}
{{- else if .Values.kafka.tls.enabled -}}
{{- toYaml .Values.kafka.tls.caSecret -}}
{{- else -}}
{{- toYaml (dict "name" "" "key" "") -}}
{{- end -}}
{{- end -}}

{{- define "alphapulse.securityProtocol" -}}
{{- $tls := or .Values.kafka.tls.enabled .Values.redpanda.enabled -}}
{{- if .Values.kafka.sasl.existingSecret.name -}}
{{- ternary "SASL_SSL" "SASL_PLAINTEXT" $tls -}}
{{- else -}}
{{- ternary "SSL" "PLAINTEXT" $tls -}}
{{- end -}}
{{- end -}}

{{/* services.toml: `settings`, and over it what the chart decides. Secrets and files come by variables (_secrets.tpl). */}}
{{- define "alphapulse.services" -}}
{{- $kafka := dict "bootstrap" (include "alphapulse.bootstrap" .) "security_protocol" (include "alphapulse.securityProtocol" .) -}}
{{- if .Values.kafka.sasl.existingSecret.name -}}
{{- $_ := set $kafka "sasl_mechanism" .Values.kafka.sasl.mechanism -}}
{{- with .Values.kafka.sasl.oauth.tokenUrl -}}
{{- $_ := set $kafka "sasl_oauth_token_url" . -}}
{{- end -}}
{{- with .Values.kafka.sasl.oauth.scope -}}
{{- $_ := set $kafka "sasl_oauth_scope" . -}}
{{- end -}}
{{- end -}}
{{- $own := dict "kafka" $kafka "ops" (dict "host" .Values.listenAddress "port" 9100) "parquet" (dict "path" (default "/parquet" .Values.sinkParquet.bucket.url)) -}}
{{- if not .Values.kafka.bootstrap -}}
{{- if not .Values.redpanda.enabled -}}
{{- $_ := unset $kafka "bootstrap" -}}
{{- end -}}
{{- end -}}
{{- with (include "alphapulse.registryUrl" .) -}}
{{- $_ := set $own "registry" (dict "url" .) -}}
{{- end -}}
{{- with .Values.tracing.endpoint -}}
{{- $_ := set $own "tracing" (dict "endpoint" .) -}}
{{- end -}}
{{- $_ := set $own "gateway" (dict "host" .Values.listenAddress "port" .Values.gateway.port) -}}
{{- $all := mergeOverwrite (deepCopy .Values.settings) $own -}}
{{- range $section, $table := $all }}
{{ include "alphapulse.toml" (dict "path" $section "table" $table) }}
{{- end }}
{{- end -}}

{{/* exchanges.toml: a table for each venue. */}}
{{- define "alphapulse.exchanges" -}}
{{- range .Values.venues }}
{{ $table := merge (dict "enabled" (ne .enabled false)) (default dict .settings) -}}
{{ include "alphapulse.toml" (dict "path" (printf "venues.%s" .name) "table" $table) }}
{{- end }}
{{- end -}}

{{/* data of the ConfigMap. */}}
{{- define "alphapulse.configData" -}}
services.toml: |
  # Made by the chart.
  {{- include "alphapulse.services" . | nindent 2 }}
exchanges.toml: |
  # Made by the chart.
  {{- include "alphapulse.exchanges" . | nindent 2 }}
{{- end -}}

{{/*
Variables of a pod: (dict "root" $ "files" FILES "component" NAME "values" SECTION). One that is there twice is refused
here: the server refuses it too, or takes the last one, depending on how it is sent. NAME and NAME_FILE are the same
setting, which the service refuses to be given twice.
*/}}
{{- define "alphapulse.env" -}}
{{- $own := include "alphapulse.ownEnv" . -}}
{{- $names := list -}}
{{- range $own | fromYamlArray -}}
{{- $names = append $names (trimSuffix "_FILE" .name) -}}
{{- end -}}
{{- range .values.extraEnv -}}
{{- if has (trimSuffix "_FILE" .name) $names -}}
{{- fail (printf "extraEnv: %s of %s is set twice, or by the chart" .name $.component) -}}
{{- end -}}
{{- $names = append $names (trimSuffix "_FILE" .name) -}}
{{- end -}}
{{- $own -}}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Variables that the chart sets. */}}
{{- define "alphapulse.ownEnv" -}}
{{- $values := .root.Values -}}
- name: ALPHAPULSE_CONFIG
  value: /etc/alphapulse
- name: ALPHAPULSE_DATA_DIR
  value: /data
{{- /* `alphapulse health` knows the port by this variable. */}}
- name: ALPHAPULSE_OPS__PORT
  value: "9100"
- name: ALPHAPULSE_OPS__HOST
  value: {{ $values.listenAddress | quote }}
- name: ALPHAPULSE_LOG__FORMAT
  value: {{ dig "log" "format" "json" $values.settings }}
{{- range .files }}
- name: {{ .variable }}
  value: /etc/alphapulse-secrets/{{ .path }}
{{- end }}
{{- end -}}
