{{/* Ports of `host:port,host:port`, as YAML {items: [...]}. */}}
{{- define "alphapulse.bootstrapPorts" -}}
{{- $ports := list -}}
{{- range splitList "," (include "alphapulse.bootstrap" .) -}}
{{- $ports = append $ports (regexFind "[0-9]+$" (trim .) | int) -}}
{{- end -}}
{{- toYaml (dict "items" (uniq $ports)) -}}
{{- end -}}

{{/* Port of a URL, or that of its scheme. */}}
{{- define "alphapulse.urlPort" -}}
{{- $host := (urlParse .).host -}}
{{- $port := regexFind ":[0-9]+$" $host -}}
{{- if $port -}}
{{- trimPrefix ":" $port -}}
{{- else if regexMatch "^(https|wss)://" . -}}
443
{{- else -}}
80
{{- end -}}
{{- end -}}

{{/* Port of a bucket's server: that of `endpoint_override` (host:port) in its URL, or that of `scheme`. */}}
{{- define "alphapulse.bucketPort" -}}
{{- $query := regexFind "[?].*" . | replace "%3A" ":" | replace "%3a" ":" -}}
{{- $port := regexFind "[?&]endpoint_override=[^&]*:[0-9]+(&|$)" $query | trimSuffix "&" | regexFind "[0-9]+$" -}}
{{- default (ternary 80 443 (regexMatch "[?&]scheme=http(&|$)" $query)) $port -}}
{{- end -}}

{{/* A rule of egress: (dict "to" PEERS "ports" LIST). */}}
{{- define "alphapulse.egress" -}}
- ports:
    {{- range .ports }}
    - { protocol: TCP, port: {{ int . }} }
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/*
spec of a NetworkPolicy: (dict "root" $ "component" NAME "venue" VENUE "egress" LIST "ingress" LIST). Names of egress:
kafka registry clickhouse bucket venues tracing identity services; of ingress: ops clients. Names without a server are left out.
*/}}
{{- define "alphapulse.policy" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $policy := $values.networkPolicy -}}
{{- $redpanda := list (dict "podSelector" (dict "matchLabels" (dict "app.kubernetes.io/name" "redpanda" "app.kubernetes.io/instance" (include "alphapulse.redpanda" $root)))) -}}
podSelector:
  matchLabels:
    {{- include "alphapulse.selector" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
policyTypes: [Ingress, Egress]
egress:
  - ports:
      {{- range $port := $policy.dns.ports }}
      - { protocol: UDP, port: {{ $port }} }
      - { protocol: TCP, port: {{ $port }} }
      {{- end }}
    {{- with $policy.dns.to }}
    to:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  {{- if has "kafka" .egress }}
  {{- $ports := default (include "alphapulse.bootstrapPorts" $root | fromYaml).items $policy.kafka.ports }}
  {{- include "alphapulse.egress" (dict "ports" $ports "to" (default (ternary $redpanda list $values.redpanda.enabled) $policy.kafka.to)) | nindent 2 }}
  {{- with $values.kafka.sasl.oauth.tokenUrl }}
  {{- include "alphapulse.egress" (dict "ports" (default (list (include "alphapulse.urlPort" .)) $policy.kafka.tokenPorts) "to" $policy.kafka.tokenTo) | nindent 2 }}
  {{- end }}
  {{- end }}
  {{- $registry := include "alphapulse.registryUrl" $root }}
  {{- if and (has "registry" .egress) (or $registry $values.registry.existingSecret.name) }}
  {{- $port := $values.registry.port }}
  {{- if $registry }}
  {{- $port = include "alphapulse.urlPort" $registry }}
  {{- end }}
  {{- include "alphapulse.egress" (dict "ports" (default (list $port) $policy.registry.ports) "to" (default (ternary $redpanda list $values.redpanda.enabled) $policy.registry.to)) | nindent 2 }}
  {{- end }}
  {{- if has "clickhouse" .egress }}
  {{- if (include "alphapulse.clickhouseSecret" (dict "root" $root "name" .component) | fromYaml).name }}
  {{- $own := list (dict "podSelector" (dict "matchLabels" (dict "clickhouse.altinity.com/chi" (include "alphapulse.chi" $root)))) }}
  {{- include "alphapulse.egress" (dict "ports" (list $values.clickhouse.port) "to" (default (ternary $own list $values.clickhouseInstallation.enabled) $policy.clickhouse.to)) | nindent 2 }}
  {{- end }}
  {{- end }}
  {{- if and (has "bucket" .egress) $values.sinkParquet.bucket.url }}
  {{- $ports := default (list (include "alphapulse.bucketPort" $values.sinkParquet.bucket.url)) $policy.bucket.ports }}
  {{- include "alphapulse.egress" (dict "ports" $ports "to" $policy.bucket.to) | nindent 2 }}
  {{- end }}
  {{- if has "venues" .egress }}
  {{- $ports := list }}
  {{- $public := include "alphapulse.venue" (dict "root" $root "name" .venue.name) | fromYaml }}
  {{- $settings := default dict .venue.settings }}
  {{- range $part := list "websocket" "rest" }}
  {{- with get $settings (printf "%s_url" $part) }}
  {{- $ports = append $ports (include "alphapulse.urlPort" . | int) }}
  {{- else }}
  {{- with get $public $part }}
  {{- $ports = append $ports (int .) }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- include "alphapulse.egress" (dict "ports" (uniq $ports) "to" $policy.venues.to) | nindent 2 }}
  {{- end }}
  {{- if and (has "tracing" .egress) (or $values.tracing.endpoint $values.tracing.existingSecret.name) }}
  {{- $port := $values.tracing.port }}
  {{- if $values.tracing.endpoint }}
  {{- $port = include "alphapulse.urlPort" $values.tracing.endpoint }}
  {{- end }}
  {{- include "alphapulse.egress" (dict "ports" (default (list $port) $policy.tracing.ports) "to" $policy.tracing.to) | nindent 2 }}
  {{- end }}
  {{- if has "identity" .egress }}
  {{- with dig "gateway" "access" "jwks_url" "" $values.settings }}
  {{- include "alphapulse.egress" (dict "ports" (default (list (include "alphapulse.urlPort" .)) $policy.gateway.identityProviderPorts) "to" $policy.gateway.identityProviderTo) | nindent 2 }}
  {{- end }}
  {{- end }}
  {{- if has "services" .egress }}
  - ports:
      - { protocol: TCP, port: 9100 }
    to:
      - podSelector:
          matchLabels:
            {{- include "alphapulse.selector" $root | nindent 12 }}
  {{- end }}
{{- if .ingress }}
ingress:
  {{- if has "ops" .ingress }}
  - ports:
      - { protocol: TCP, port: 9100 }
    from:
      - podSelector:
          matchLabels:
            {{- include "alphapulse.selector" $root | nindent 12 }}
            app.kubernetes.io/component: test
      {{- with $policy.monitoring.from }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- end }}
  {{- if has "clients" .ingress }}
  - ports:
      - { protocol: TCP, port: {{ $values.gateway.port }} }
    from:
      {{- toYaml (default (list (dict "podSelector" dict)) $policy.gateway.from) | nindent 6 }}
  {{- end }}
{{- end }}
{{- end -}}
