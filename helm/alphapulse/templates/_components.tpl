{{/*
The services that are switched on, as YAML {items: [...]}, each with: name (as the metrics' label `service` has it),
group (its section of the values), kind, args, replicas, values (a venue's own placed over those of `collectors`),
venue, drain (seconds that it may read on, or wait for its successor, at a stop), preStop (seconds before SIGTERM).
*/}}
{{- define "alphapulse.components" -}}
{{- $items := list -}}
{{- if .Values.collectors.enabled -}}
{{- $wait := dig "handover" "wait_s" 8 $.Values.settings -}}
{{- range .Values.venues -}}
{{- if ne .enabled false -}}
{{- $over := pick . "resources" "nodeSelector" "tolerations" "affinity" "extraEnv" -}}
{{- $values := mergeOverwrite (deepCopy $.Values.collectors) (deepCopy $over) -}}
{{- $items = append $items (dict "name" (printf "collector-%s" (replace "_" "-" .name)) "group" "collectors" "kind" "Deployment" "args" (list "collect" .name) "replicas" 1 "values" $values "venue" . "drain" $wait "preStop" 0) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.processors -}}
{{- if .enabled -}}
{{- $drain := dig "processors" "drain_seconds" 10 $.Values.settings -}}
{{- $items = append $items (dict "name" "processors" "group" "processors" "kind" "Deployment" "args" (list "process") "replicas" .replicas "values" . "drain" $drain "preStop" 0) -}}
{{- end -}}
{{- end -}}
{{- with .Values.sinkClickhouse -}}
{{- if .enabled -}}
{{- $items = append $items (dict "name" "sink-clickhouse" "group" "sinkClickhouse" "kind" "Deployment" "args" (list "sink" "clickhouse") "replicas" .replicas "values" . "drain" 0 "preStop" 0) -}}
{{- end -}}
{{- end -}}
{{- with .Values.sinkParquet -}}
{{- if .enabled -}}
{{- $items = append $items (dict "name" "sink-parquet" "group" "sinkParquet" "kind" (ternary "Deployment" "StatefulSet" (ne .bucket.url "")) "args" (list "sink" "parquet") "replicas" .replicas "values" . "drain" 0 "preStop" 0) -}}
{{- end -}}
{{- end -}}
{{- with .Values.gateway -}}
{{- if .enabled -}}
{{- $items = append $items (dict "name" "gateway" "group" "gateway" "kind" "Deployment" "args" (list "gateway") "replicas" .replicas "values" . "drain" 0 "preStop" .drainSeconds) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "items" $items) -}}
{{- end -}}

{{/*
What is known of a venue, as YAML {websocket, rest, single}: the ports of its public addresses, and whether it accepts
one connection only. (dict "root" $ "name" NAME). One that the image has besides ours is taken to use HTTPS's port.
*/}}
{{- define "alphapulse.venue" -}}
{{- $known := .root.Files.Get "files/venues.yaml" | fromYaml -}}
{{- toYaml (default (dict "websocket" 443 "rest" 443 "single" false) (get $known .name)) -}}
{{- end -}}

{{/*
Seconds between SIGTERM and SIGKILL: the pause before it, the 15 s of every service, the drain of its own, 4 s for what
has to be cut short, 5 s of the collectors' supervisor, and 6 s to spare.
*/}}
{{- define "alphapulse.grace" -}}
{{- $needed := add 30 (ceil .component.drain | int) (ceil .component.preStop | int) -}}
{{- $wanted := int .component.values.terminationGracePeriodSeconds -}}
{{- if and $wanted (lt $wanted (int $needed)) -}}
{{- fail (printf "%s.terminationGracePeriodSeconds: %d is less than the %d s that its stop may take" .component.group $wanted $needed) -}}
{{- end -}}
{{- default $needed $wanted -}}
{{- end -}}

{{/* Refuses what the schema cannot. */}}
{{- define "alphapulse.check" -}}
{{- if regexMatch "^[0-9]" (include "alphapulse.fullname" .) -}}
{{- fail (printf "fullnameOverride: set one that begins with a letter; the release's name %s does not, and names of Services have to" .Release.Name) -}}
{{- end -}}
{{- if and .Values.gateway.enabled (eq (int .Values.gateway.port) 9100) -}}
{{- fail "gateway.port: 9100 is the port of metrics and probes; choose another one" -}}
{{- end -}}
{{- $components := (include "alphapulse.components" . | fromYaml).items -}}
{{- $some := or (gt (len $components) 0) .Values.init.enabled -}}
{{- if and $some (not .Values.kafka.bootstrap) (not .Values.redpanda.enabled) -}}
{{- fail "kafka.bootstrap: name your brokers (host:port,host:port), or set redpanda.enabled" -}}
{{- end -}}
{{- if and .Values.kafka.bootstrap .Values.redpanda.enabled -}}
{{- fail "kafka.bootstrap and redpanda.enabled are both set; set only one of them" -}}
{{- end -}}
{{- if and .Values.registry.url .Values.registry.existingSecret.name -}}
{{- fail "registry.url and registry.existingSecret are both set; set only one of them" -}}
{{- end -}}
{{- if and .Values.tracing.endpoint .Values.tracing.existingSecret.name -}}
{{- fail "tracing.endpoint and tracing.existingSecret are both set; set only one of them" -}}
{{- end -}}
{{- if and .Values.redpanda.enabled (or .Values.registry.url .Values.registry.existingSecret.name) -}}
{{- fail "registry and redpanda.enabled are both set; Redpanda has a registry of its own" -}}
{{- end -}}
{{- if and .Values.sinkClickhouse.enabled (not .Values.clickhouse.existingSecret.name) -}}
{{- fail "clickhouse.existingSecret.name: sinkClickhouse needs a Secret with clickhouse://user:password@host:8123; or set sinkClickhouse.enabled=false" -}}
{{- end -}}
{{- if and .Values.clickhouseInstallation.enabled (not .Values.clickhouseInstallation.passwordSecret.name) -}}
{{- fail "clickhouseInstallation.passwordSecret.name: name the Secret with the password of its user" -}}
{{- end -}}
{{- with .Values.sinkParquet -}}
{{- if and .bucket.url .persistence.existingClaim -}}
{{- fail "sinkParquet.bucket.url and sinkParquet.persistence.existingClaim are both set; set only one of them" -}}
{{- end -}}
{{- if and .bucket.credentialsSecret.name (not .bucket.url) -}}
{{- fail "sinkParquet.bucket.credentialsSecret: set, but sinkParquet.bucket.url is empty: files go to a volume" -}}
{{- end -}}
{{- if and (gt (int .replicas) 1) (not .bucket.url) (not .persistence.existingClaim) -}}
{{- fail (printf "sinkParquet.replicas: %d sinks need one folder; name a ReadWriteMany claim in sinkParquet.persistence.existingClaim, or a bucket in sinkParquet.bucket.url" (int .replicas)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.collectors.enabled (not .Values.venues) -}}
{{- fail "venues: empty; name at least one, or set collectors.enabled=false" -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.venues -}}
{{- if has .name $names -}}
{{- fail (printf "venues: %s is listed twice" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- include "alphapulse.checkConnections" . -}}
{{- range $section := list "processors" "sinkClickhouse" "gateway" -}}
{{- with (index $.Values $section).autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail (printf "%s.autoscaling: minReplicas %d is more than maxReplicas %d" $section (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $access := dig "gateway" "access" (dict) .Values.settings -}}
{{- if and .Values.gateway.enabled (ne (default "open" $access.mode) "required") (not $access.allow_public) -}}
{{- fail "settings.gateway.access.mode: open to everyone who reaches the gateway; set mode: required, or allow_public: true if that is meant" -}}
{{- end -}}
{{- $tokens := or .Values.gateway.access.tokenSecret.name .Values.gateway.access.publicKeySecret.name $access.jwks_url -}}
{{- range $key := list "issuer" "audience" -}}
{{- if and $tokens (not (get $access $key)) -}}
{{- fail (printf "settings.gateway.access.%s: empty; tokens need it" $key) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: empty; name at least one" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: empty; name the Gateway" -}}
{{- end -}}
{{- if and (or .Values.ingress.enabled .Values.httpRoute.enabled) (not .Values.gateway.enabled) -}}
{{- fail "gateway.enabled: ingress and httpRoute lead to the gateway, which is off" -}}
{{- end -}}
{{- end -}}

{{/* Likewise of TLS and SASL: what is set has to be used, or a connection would be less safe than it looks. */}}
{{- define "alphapulse.checkConnections" -}}
{{- $kafka := .Values.kafka -}}
{{- range $key := list "caSecret" "clientSecret" -}}
{{- if and (get $kafka.tls $key).name (not $kafka.tls.enabled) (not $.Values.redpanda.enabled) -}}
{{- fail (printf "kafka.tls.%s: set, but kafka.tls.enabled is false" $key) -}}
{{- end -}}
{{- if (get $.Values.registry.tls $key).name -}}
{{- $url := include "alphapulse.registryUrl" $ -}}
{{- if not (or $url $.Values.registry.existingSecret.name) -}}
{{- fail (printf "registry.tls.%s: set, but there is no registry; name it in registry.url or registry.existingSecret" $key) -}}
{{- end -}}
{{- if and $url (not (hasPrefix "https://" $url)) -}}
{{- fail (printf "registry.tls.%s: set, but %s does not use TLS" $key $url) -}}
{{- end -}}
{{- end -}}
{{- if and (get $.Values.clickhouse.tls $key).name $.Values.clickhouseInstallation.enabled -}}
{{- fail (printf "clickhouse.tls.%s: set, but the server of clickhouseInstallation has no TLS" $key) -}}
{{- end -}}
{{- end -}}
{{- $oauth := eq $kafka.sasl.mechanism "OAUTHBEARER" -}}
{{- if and $oauth (not $kafka.sasl.existingSecret.name) -}}
{{- fail "kafka.sasl.existingSecret.name: OAUTHBEARER needs a Secret with the client's id and secret" -}}
{{- end -}}
{{- if and $oauth (not $kafka.sasl.oauth.tokenUrl) -}}
{{- fail "kafka.sasl.oauth.tokenUrl: OAUTHBEARER needs the token endpoint, https://…" -}}
{{- end -}}
{{- if and (not $oauth) (or $kafka.sasl.oauth.tokenUrl $kafka.sasl.oauth.scope $kafka.sasl.oauth.caSecret.name) -}}
{{- fail (printf "kafka.sasl.oauth: set, but kafka.sasl.mechanism is %s, not OAUTHBEARER" $kafka.sasl.mechanism) -}}
{{- end -}}
{{- range $section := list "collectors" "processors" "sinkClickhouse" "sinkParquet" "gateway" "init" "keda" -}}
{{- with index $.Values $section -}}
{{- if and .kafkaSecret (not $kafka.sasl.existingSecret.name) -}}
{{- fail (printf "%s.kafkaSecret: set, but kafka.sasl.existingSecret.name is empty: no SASL" $section) -}}
{{- end -}}
{{- if and .kafkaClientSecret (not $kafka.tls.clientSecret.name) -}}
{{- fail (printf "%s.kafkaClientSecret: set, but kafka.tls.clientSecret.name is empty: no client certificates" $section) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
