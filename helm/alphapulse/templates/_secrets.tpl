{{/* A file from a Secret: (dict "secret" NAME "key" KEY "path" PATH "variable" VARIABLE). */}}
{{- define "alphapulse.file" -}}
- { secret: {{ .secret | quote }}, key: {{ .key | quote }}, path: {{ .path | quote }}, variable: {{ .variable | quote }} }
{{- end -}}

{{/*
Files of TLS to one server: (dict "section" SECTION "ca" SECRET "client" SECRET "clientName" NAME), where SECTION is that
of services.toml, SECRET the table {name, key} or {name, certKey, keyKey, passwordKey} of the values, and NAME the Secret
with the client certificate, which has the keys of `client`.
*/}}
{{- define "alphapulse.tlsFiles" -}}
{{- $variable := printf "ALPHAPULSE_%s__SSL" (upper .section) -}}
{{- if .ca.name }}
{{ include "alphapulse.file" (dict "secret" .ca.name "key" .ca.key "path" (printf "%s/ca.crt" .section) "variable" (printf "%s_CAFILE" $variable)) }}
{{- end }}
{{- if .clientName }}
{{ include "alphapulse.file" (dict "secret" .clientName "key" .client.certKey "path" (printf "%s/tls.crt" .section) "variable" (printf "%s_CERTFILE" $variable)) }}
{{ include "alphapulse.file" (dict "secret" .clientName "key" .client.keyKey "path" (printf "%s/tls.key" .section) "variable" (printf "%s_KEYFILE" $variable)) }}
{{- if .client.passwordKey }}
{{ include "alphapulse.file" (dict "secret" .clientName "key" .client.passwordKey "path" (printf "%s/tls.password" .section) "variable" (printf "%s_KEY_PASSWORD_FILE" $variable)) }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
What a pod has of Secrets, as a list in YAML of {secret, key, path, variable}: the file PATH below
/etc/alphapulse-secrets, which VARIABLE names. (dict "root" $ "name" COMPONENT "venue" VENUE "values" SECTION).
Only who needs a secret has it, and none is in a variable: a process's variables stay in /proc/PID/environ and do not
change with the Secret.
*/}}
{{- define "alphapulse.files" -}}
{{- $values := .root.Values -}}
{{- $kafka := $values.kafka -}}
{{ include "alphapulse.tlsFiles" (dict "section" "kafka" "ca" (include "alphapulse.kafkaCa" .root | fromYaml) "client" $kafka.tls.clientSecret "clientName" (default $kafka.tls.clientSecret.name .values.kafkaClientSecret)) }}
{{- with $kafka.sasl.existingSecret }}
{{- if .name }}
{{- $user := default .name $.values.kafkaSecret }}
{{ include "alphapulse.file" (dict "secret" $user "key" .usernameKey "path" "kafka/username" "variable" "ALPHAPULSE_KAFKA__SASL_USERNAME_FILE") }}
{{ include "alphapulse.file" (dict "secret" $user "key" .passwordKey "path" "kafka/password" "variable" "ALPHAPULSE_KAFKA__SASL_PASSWORD_FILE") }}
{{- end }}
{{- end }}
{{- with $kafka.sasl.oauth.caSecret }}
{{- if .name }}
{{ include "alphapulse.file" (dict "secret" .name "key" .key "path" "kafka/oauth-ca.crt" "variable" "ALPHAPULSE_KAFKA__SASL_OAUTH_CAFILE") }}
{{- end }}
{{- end }}
{{- with $values.registry }}
{{ include "alphapulse.tlsFiles" (dict "section" "registry" "ca" .tls.caSecret "client" .tls.clientSecret "clientName" .tls.clientSecret.name) }}
{{- if .existingSecret.name }}
{{ include "alphapulse.file" (dict "secret" .existingSecret.name "key" .existingSecret.key "path" "registry/url" "variable" "ALPHAPULSE_REGISTRY__URL_FILE") }}
{{- end }}
{{- end }}
{{- with $values.tracing.existingSecret }}
{{- if and .name (ne $.name "init") }}
{{ include "alphapulse.file" (dict "secret" .name "key" .key "path" "tracing/endpoint" "variable" "ALPHAPULSE_TRACING__ENDPOINT_FILE") }}
{{- end }}
{{- end }}
{{- $dsn := include "alphapulse.clickhouseSecret" . | fromYaml }}
{{- if $dsn.name }}
{{ include "alphapulse.file" (dict "secret" $dsn.name "key" $dsn.key "path" "clickhouse/dsn" "variable" "ALPHAPULSE_CLICKHOUSE__DSN_FILE") }}
{{ include "alphapulse.tlsFiles" (dict "section" "clickhouse" "ca" $values.clickhouse.tls.caSecret "client" $values.clickhouse.tls.clientSecret "clientName" $dsn.client) }}
{{- end }}
{{- if eq .name "gateway" }}
{{- with $values.gateway.access }}
{{- if .keysSecret.name }}
{{ include "alphapulse.file" (dict "secret" .keysSecret.name "key" .keysSecret.key "path" "access/keys.json" "variable" "ALPHAPULSE_GATEWAY__ACCESS__KEYS_PATH") }}
{{- end }}
{{- if .tokenSecret.name }}
{{ include "alphapulse.file" (dict "secret" .tokenSecret.name "key" .tokenSecret.key "path" "access/secret" "variable" "ALPHAPULSE_GATEWAY__ACCESS__SECRET_FILE") }}
{{- end }}
{{- if .publicKeySecret.name }}
{{ include "alphapulse.file" (dict "secret" .publicKeySecret.name "key" .publicKeySecret.key "path" "access/issuer.pem" "variable" "ALPHAPULSE_GATEWAY__ACCESS__PUBLIC_KEY_PATH") }}
{{- end }}
{{- end }}
{{- end }}
{{- with .venue }}
{{- $prefix := printf "ALPHAPULSE_VENUES__%s" (upper .name) }}
{{- with .existingSecret }}
{{ include "alphapulse.file" (dict "secret" .name "key" (default "key" .keyKey) "path" "venue/key" "variable" (printf "%s__KEY_FILE" $prefix)) }}
{{ include "alphapulse.file" (dict "secret" .name "key" (default "secret" .secretKey) "path" "venue/secret" "variable" (printf "%s__SECRET_FILE" $prefix)) }}
{{- end }}
{{- end }}
{{- if eq .name "sink-parquet" }}
{{- with $values.sinkParquet.bucket }}
{{- if and .url .credentialsSecret.name }}
{{ include "alphapulse.file" (dict "secret" .credentialsSecret.name "key" .credentialsSecret.key "path" "bucket/credentials" "variable" (include "alphapulse.bucketVariable" .)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
The Secret with a pod's address of ClickHouse, as YAML {name, key, client}, where `client` is the Secret with its
client certificate; names empty: none. (dict "root" $ "name" COMPONENT).
*/}}
{{- define "alphapulse.clickhouseSecret" -}}
{{- $values := .root.Values.clickhouse -}}
{{- $writer := $values.tls.clientSecret.name -}}
{{- $found := dict "name" "" -}}
{{- if eq .name "sink-clickhouse" -}}
{{- $found = merge (dict "client" $writer) $values.existingSecret -}}
{{- else if eq .name "gateway" -}}
{{- $found = merge (dict "client" (default $writer $values.tls.readerClientSecret)) $values.readerSecret -}}
{{- else if eq .name "init" -}}
{{- if $values.migratorSecret.name -}}
{{- $found = merge (dict "client" (default $writer $values.tls.migratorClientSecret)) $values.migratorSecret -}}
{{- else -}}
{{- $found = merge (dict "client" $writer) $values.existingSecret -}}
{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* The variable by which the client of a bucket finds its credentials: (sinkParquet.bucket). */}}
{{- define "alphapulse.bucketVariable" -}}
{{- if hasPrefix "s3://" .url -}}
AWS_SHARED_CREDENTIALS_FILE
{{- else if regexMatch "^gc?s://" .url -}}
GOOGLE_APPLICATION_CREDENTIALS
{{- else -}}
{{- fail "sinkParquet.bucket.credentialsSecret: a file of credentials is for s3:// and gs://; for others set sinkParquet.extraEnv, or a role in sinkParquet.bucket.serviceAccountAnnotations" -}}
{{- end -}}
{{- end -}}

{{/* The volume of those files (a list), if there are any. The group of `podSecurity.fsGroup` may read them, nobody writes. */}}
{{- define "alphapulse.filesVolume" -}}
{{- $bySecret := dict -}}
{{- range . -}}
{{- $_ := set $bySecret .secret (append (default list (get $bySecret .secret)) (pick . "key" "path")) -}}
{{- end -}}
{{- if $bySecret }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $secret, $items := $bySecret }}
      - secret:
          name: {{ $secret }}
          items:
            {{- toYaml $items | nindent 12 }}
      {{- end }}
{{- end }}
{{- end -}}

{{- define "alphapulse.filesMount" -}}
{{- if . }}
- name: secrets
  mountPath: /etc/alphapulse-secrets
  readOnly: true
{{- end }}
{{- end -}}
