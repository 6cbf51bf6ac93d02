{{/* Every problem of the values as a sentence, all at once. */}}
{{- define "millrace.problems" -}}
{{- $values := .Values -}}
{{- $problems := list -}}
{{- if not $values.kafka.bootstrapServers }}{{ $problems = append $problems "kafka.bootstrapServers is empty: name the brokers, for example kafka-bootstrap:9093" }}{{ end -}}
{{- if not $values.schemaRegistry.urls }}{{ $problems = append $problems "schemaRegistry.urls is empty: name at least one registry, for example [https://registry:8081]" }}{{ end -}}
{{- if and (eq ($values.image.tag | default "") "latest") (not $values.image.digest) }}{{ $problems = append $problems "image.tag is latest: nobody could say what runs; name a version or set image.digest" }}{{ end -}}
{{- $problems = concat $problems (include "millrace.landscapeProblems" . | fromJsonArray) -}}
{{- $problems = concat $problems (include "millrace.identityProblems" . | fromJsonArray) -}}
{{- $problems = concat $problems (include "millrace.provisioningProblems" . | fromJsonArray) -}}
{{- $problems = concat $problems (include "millrace.accessProblems" . | fromJsonArray) -}}
{{- $problems = concat $problems (include "millrace.alertProblems" . | fromJsonArray) -}}
{{- range $name, $over := $values.destinations -}}
{{- if not (kindIs "invalid" $over) -}}
{{- $problems = concat $problems (include "millrace.sinkProblems" (dict "root" $ "name" $name "values" (mergeOverwrite (deepCopy $values.sink) (deepCopy $over))) | fromJsonArray) -}}
{{- end -}}
{{- end -}}
{{- range $name, $over := $values.sources -}}
{{- if not (kindIs "invalid" $over) -}}
{{- $problems = concat $problems (include "millrace.sourceProblems" (dict "root" $ "name" $name "values" (mergeOverwrite (deepCopy $values.publisher) (deepCopy $over))) | fromJsonArray) -}}
{{- end -}}
{{- end -}}
{{- range $problems }}
- {{ . }}
{{- end }}
{{- end }}

{{- define "millrace.landscapeProblems" -}}
{{- $values := .Values -}}
{{- $problems := list -}}
{{- $files := include "millrace.landscapeFiles" . | fromJson -}}
{{- if and (not $files) (not $values.landscape.volume) -}}
{{- $problems = append $problems "there is no landscape: run `millrace landscape check DIR --bundle landscape.values.yaml` and add `-f landscape.values.yaml`, or name a volume with landscape.volume" -}}
{{- end -}}
{{- $size := 0 -}}
{{- $keys := dict -}}
{{- range $path, $text := $files -}}
{{- $size = add $size (len $text) (len $path) -}}
{{- $key := $path | replace "/" "__" -}}
{{- with get $keys $key }}{{ $problems = append $problems (printf "landscape.files: %s and %s would be the same key of the ConfigMap (/ is stored as __): rename one" . $path) }}{{ end -}}
{{- $_ := set $keys $key $path -}}
{{- end -}}
{{- if and (gt (int $size) 1000000) (not $values.landscape.volume) -}}
{{- $problems = append $problems (printf "the landscape has %d bytes, and a ConfigMap holds 1 MiB: put the folder into an image or a claim and name it with landscape.volume" (int $size)) -}}
{{- end -}}
{{- if $files -}}
{{- range $section, $folder := dict "destinations" "destinations" "sources" "sources" -}}
{{- $described := list -}}
{{- range $path, $text := $files -}}
{{- if hasPrefix (printf "%s/" $folder) $path }}{{ $described = append $described (base $path | trimSuffix ".yaml" | trimSuffix ".yml") }}{{ end -}}
{{- end -}}
{{- range $name, $over := get $values $section -}}
{{- if and (not (kindIs "invalid" $over)) (not (has $name $described)) -}}
{{- $problems = append $problems (printf "%s.%s: the landscape has no file %s/%s.yaml (it has: %s)" $section $name $folder $name (join ", " $described)) -}}
{{- end -}}
{{- end -}}
{{- range $name := $described -}}
{{- if kindIs "invalid" (get (get $values $section) $name | default nil) -}}
{{- if not (hasKey (get $values $section) $name) -}}
{{- $problems = append $problems (printf "the landscape describes %s/%s.yaml, but the values have no %s.%s: add it, {} is enough, or {enabled: false}" $folder $name $section $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $theirs := $values.landscape.topicPrefix -}}
{{- if and $values.kafka.topicPrefix $theirs (ne $values.kafka.topicPrefix $theirs) -}}
{{- $problems = append $problems (printf "kafka.topicPrefix is %q, but the bundle was written for %q: change kafka.topic_prefix of millrace.yaml and write the bundle again" $values.kafka.topicPrefix $theirs) -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end }}

{{/* Which workloads have no identity towards Kafka. */}}
{{- define "millrace.identityProblems" -}}
{{- $values := .Values -}}
{{- $kafka := $values.kafka -}}
{{- $problems := list -}}
{{- if and $kafka.tls.enabled (not $kafka.tls.existingSecret) -}}
{{- $problems = append $problems "kafka.tls.existingSecret is empty: name the Secret that holds the authority of the brokers' certificates (key kafka.tls.caKey), or set kafka.tls.enabled to false where the network is trusted" -}}
{{- end -}}
{{- if ne (empty $kafka.tls.certKey) (empty $kafka.tls.keyKey) -}}
{{- $problems = append $problems "kafka.tls.certKey and kafka.tls.keyKey belong together: name both or none" -}}
{{- end -}}
{{- if and (ne $kafka.auth.mechanism "none") (ne $values.provisioning.users "strimzi") (not $kafka.auth.existingSecret) -}}
{{- $without := list -}}
{{- range $name := list "validator" "replayer" "tracker" "doctor" -}}
{{- if not (dig "kafka" "existingSecret" "" (get $values $name)) }}{{ $without = append $without $name }}{{ end -}}
{{- end -}}
{{- range $section, $defaults := dict "sources" $values.publisher "destinations" $values.sink -}}
{{- range $name, $over := get $values $section -}}
{{- if not (kindIs "invalid" $over) -}}
{{- $all := mergeOverwrite (deepCopy $defaults) (deepCopy $over) -}}
{{- if and $all.enabled (not $all.kafka.existingSecret) }}{{ $without = append $without (printf "%s.%s" $section $name) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $without -}}
{{- $problems = append $problems (printf "no Kafka identity for %s: give each a kafka.existingSecret of its own, or kafka.auth.existingSecret for all, or set kafka.auth.mechanism to none" (join ", " $without)) -}}
{{- end -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end }}

{{- define "millrace.provisioningProblems" -}}
{{- $values := .Values -}}
{{- $how := $values.provisioning -}}
{{- $problems := list -}}
{{- if and (or (eq $how.topics "strimzi") (eq $how.users "strimzi")) (not $values.strimzi.cluster) -}}
{{- $problems = append $problems "strimzi.cluster is empty: name the Kafka resource that KafkaTopic and KafkaUser belong to" -}}
{{- end -}}
{{- if and (eq $how.topics "strimzi") (not $values.landscape.topics) -}}
{{- $problems = append $problems "provisioning.topics is strimzi, but landscape.topics is empty: `millrace landscape check DIR --bundle FILE` writes it" -}}
{{- end -}}
{{- if and (eq $how.users "strimzi") (not $values.landscape.users) -}}
{{- $problems = append $problems "provisioning.users is strimzi, but landscape.users is empty: `millrace landscape check DIR --bundle FILE` writes it" -}}
{{- end -}}
{{- if and (eq $how.users "strimzi") (not $values.kafka.tls.enabled) (eq $values.strimzi.authentication "tls") -}}
{{- $problems = append $problems "strimzi.authentication is tls, but kafka.tls.enabled is false: a certificate is shown over TLS only" -}}
{{- end -}}
{{- if and (eq $how.topics "job") (ne $how.users "strimzi") (ne $values.kafka.auth.mechanism "none") (not $how.kafka.existingSecret) -}}
{{- $problems = append $problems "provisioning.kafka.existingSecret is empty: creating topics is a right that no service has; name the Secret of the provisioner's own principal" -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end }}

{{/* The API is reachable only where callers sign in. */}}
{{- define "millrace.accessProblems" -}}
{{- $tracker := .Values.tracker -}}
{{- $problems := list -}}
{{- if not $tracker.auth.existingSecret -}}
{{- if $tracker.ingress.enabled }}{{ $problems = append $problems "tracker.ingress.enabled needs tracker.auth.existingSecret: without tokens the API listens inside its pod only" }}{{ end -}}
{{- if $tracker.gateway.enabled }}{{ $problems = append $problems "tracker.gateway.enabled needs tracker.auth.existingSecret: without tokens the API listens inside its pod only" }}{{ end -}}
{{- if .Values.doctor.auth.existingSecret }}{{ $problems = append $problems "doctor.auth.existingSecret needs tracker.auth.existingSecret: without tokens the API listens inside its pod only" }}{{ end -}}
{{- end -}}
{{- if and $tracker.ingress.enabled (not $tracker.ingress.hosts) }}{{ $problems = append $problems "tracker.ingress.hosts is empty: name the host that people type" }}{{ end -}}
{{- if and $tracker.gateway.enabled (not $tracker.gateway.parentRefs) }}{{ $problems = append $problems "tracker.gateway.parentRefs is empty: name the Gateway that the route belongs to" }}{{ end -}}
{{- $problems | toJson -}}
{{- end }}

{{/* A name that no alert has would leave the alert on without a word. */}}
{{- define "millrace.alertProblems" -}}
{{- $problems := list -}}
{{- $known := list -}}
{{- range $path, $bytes := .Files.Glob "rules/*.yaml" -}}
{{- range (fromYaml ($.Files.Get $path)).groups -}}
{{- range .rules }}{{ with get . "alert" }}{{ $known = append $known (trimPrefix "Millrace" .) }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range .Values.metrics.prometheusRule.exclude -}}
{{- if not (has (trimPrefix "Millrace" .) $known) }}{{ $problems = append $problems (printf "metrics.prometheusRule.exclude: there is no alert %s (there are: %s)" . (join ", " $known)) }}{{ end -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end }}

{{- define "millrace.sinkProblems" -}}
{{- $name := .name -}}
{{- $values := .values -}}
{{- $all := .root.Values -}}
{{- $problems := list -}}
{{- if $values.enabled -}}
{{- $scaling := $values.autoscaling -}}
{{- if eq $scaling.mode "keda" -}}
{{- $sink := get $all.landscape.sinks $name | default dict -}}
{{- if not ($scaling.topics | default $sink.topics) -}}
{{- $problems = append $problems (printf "destinations.%s.autoscaling.topics is empty, and the values have no landscape.sinks.%s: the bundle has it, or name the topics that it reads" $name $name) -}}
{{- end -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- $problems = append $problems (printf "destinations.%s.autoscaling: minReplicas %d is above maxReplicas %d" $name (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- if and $all.landscape.slots (gt (int $scaling.maxReplicas) (int $all.landscape.slots)) -}}
{{- $problems = append $problems (printf "destinations.%s.autoscaling.maxReplicas is %d, but there are %d slots: more replicas would be idle" $name (int $scaling.maxReplicas) (int $all.landscape.slots)) -}}
{{- end -}}
{{- end -}}
{{- if and $all.networkPolicy.enabled (not $values.networkPolicy.egressTo) -}}
{{- $problems = append $problems (printf "destinations.%s.networkPolicy.egressTo is empty, so with networkPolicy.enabled its sink reaches nothing: name the system, for example [{ipBlock: {cidr: 10.20.0.7/32}}]" $name) -}}
{{- end -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end }}

{{/* A source that is read from a mounted folder needs no network. */}}
{{- define "millrace.sourceProblems" -}}
{{- $name := .name -}}
{{- $values := .values -}}
{{- $all := .root.Values -}}
{{- $problems := list -}}
{{- $text := get $all.landscape.files (printf "sources/%s.yaml" $name) | default "" -}}
{{- $kind := dig "connector" "type" "" (fromYaml $text) -}}
{{- if and $values.enabled $all.networkPolicy.enabled (eq $kind "http-poll") (not $values.networkPolicy.egressTo) -}}
{{- $problems = append $problems (printf "sources.%s.networkPolicy.egressTo is empty, so with networkPolicy.enabled its publisher reaches nothing: name the system, for example [{ipBlock: {cidr: 10.20.0.7/32}}]" $name) -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end }}
