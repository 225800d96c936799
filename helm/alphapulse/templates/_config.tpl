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

{{/* services.toml: `settings`, and over it what the chart decides. Secrets come in variables. */}}
{{- define "alphapulse.services" -}}
{{- $kafka := dict "bootstrap" (include "alphapulse.bootstrap" .) "security_protocol" (include "alphapulse.securityProtocol" .) -}}
{{- if .Values.kafka.sasl.existingSecret.name -}}
{{- $_ := set $kafka "sasl_mechanism" .Values.kafka.sasl.mechanism -}}
{{- end -}}
{{- if (include "alphapulse.kafkaCa" . | fromYaml).name -}}
{{- $_ := set $kafka "ssl_cafile" "/etc/alphapulse-kafka/ca.crt" -}}
{{- end -}}
{{- $own := dict "kafka" $kafka "ops" (dict "host" .Values.listenAddress "port" 9100) "parquet" (dict "path" "/parquet") -}}
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
{{- $access := dict -}}
{{- if .Values.gateway.access.keysSecret.name -}}
{{- $_ := set $access "keys_path" "/etc/alphapulse-access/keys.json" -}}
{{- end -}}
{{- if .Values.gateway.access.publicKeySecret.name -}}
{{- $_ := set $access "public_key_path" "/etc/alphapulse-issuer/issuer.pem" -}}
{{- end -}}
{{- $_ := set $own "gateway" (dict "host" .Values.listenAddress "port" .Values.gateway.port "access" $access) -}}
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

{{/* A variable from a Secret: (dict "name" VARIABLE "secret" NAME "key" KEY). */}}
{{- define "alphapulse.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{/*
Variables of a pod: (dict "root" $ "name" COMPONENT "venue" VENUE "values" SECTION). One that is there twice is refused
here: the server refuses it too, or takes the last one, depending on how it is sent.
*/}}
{{- define "alphapulse.env" -}}
{{- $own := include "alphapulse.ownEnv" . -}}
{{- $names := list -}}
{{- range $own | fromYamlArray -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range .values.extraEnv -}}
{{- if has .name $names -}}
{{- fail (printf "extraEnv: %s of %s is set twice, or by the chart" .name $.name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $own -}}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Variables that the chart sets. Only who needs a secret has it. */}}
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
{{- $user := default $values.kafka.sasl.existingSecret.name .values.kafkaSecret }}
{{- with $values.kafka.sasl.existingSecret }}
{{- if .name }}
{{ include "alphapulse.secretEnv" (dict "name" "ALPHAPULSE_KAFKA__SASL_USERNAME" "secret" $user "key" .usernameKey) }}
{{ include "alphapulse.secretEnv" (dict "name" "ALPHAPULSE_KAFKA__SASL_PASSWORD" "secret" $user "key" .passwordKey) }}
{{- end }}
{{- end }}
{{- with $values.registry.existingSecret }}
{{- if .name }}
{{ include "alphapulse.secretEnv" (dict "name" "ALPHAPULSE_REGISTRY__URL" "secret" .name "key" .key) }}
{{- end }}
{{- end }}
{{- $dsn := dict "name" "" -}}
{{- if eq .name "sink-clickhouse" -}}
{{- $dsn = $values.clickhouse.existingSecret -}}
{{- else if eq .name "gateway" -}}
{{- $dsn = $values.clickhouse.readerSecret -}}
{{- else if eq .name "init" -}}
{{- $dsn = ternary $values.clickhouse.migratorSecret $values.clickhouse.existingSecret (ne $values.clickhouse.migratorSecret.name "") -}}
{{- end -}}
{{- if $dsn.name }}
{{ include "alphapulse.secretEnv" (dict "name" "ALPHAPULSE_CLICKHOUSE__DSN" "secret" $dsn.name "key" $dsn.key) }}
{{- end }}
{{- if eq .name "gateway" }}
{{- with $values.gateway.access.tokenSecret }}
{{- if .name }}
{{ include "alphapulse.secretEnv" (dict "name" "ALPHAPULSE_GATEWAY__ACCESS__SECRET" "secret" .name "key" .key) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .venue }}
{{- $prefix := printf "ALPHAPULSE_VENUES__%s" (upper .name) }}
{{- with .existingSecret }}
{{ include "alphapulse.secretEnv" (dict "name" (printf "%s__KEY" $prefix) "secret" .name "key" (default "key" .keyKey)) }}
{{ include "alphapulse.secretEnv" (dict "name" (printf "%s__SECRET" $prefix) "secret" .name "key" (default "secret" .secretKey)) }}
{{- end }}
{{- end }}
{{- end -}}
