{{/*
Who a process is towards Kafka and the registry: which keys of which Secrets become which files, and the options that name them.
*/}}

{{/*
The resolved identity as JSON: {username, mechanism, ca, certificate, key, usernameFile, password}, each of the last five {secret, key}.
Call: (dict "root" $ "kafka" <the workload's own kafka map> "principal" "sink-mes-ulm")
*/}}
{{- define "millrace.kafkaIdentity" -}}
{{- $kafka := .root.Values.kafka -}}
{{- $own := .kafka | default dict -}}
{{- $identity := dict -}}
{{- if $kafka.tls.enabled -}}
{{- $_ := set $identity "ca" (dict "secret" $kafka.tls.existingSecret "key" $kafka.tls.caKey) -}}
{{- end -}}
{{- if and (eq .root.Values.provisioning.users "strimzi") (not $own.existingSecret) -}}
{{- $user := include "millrace.name" (list .root .principal) -}}
{{- if eq .root.Values.strimzi.authentication "tls" -}}
{{- $_ := set $identity "certificate" (dict "secret" $user "key" "user.crt") -}}
{{- $_ := set $identity "key" (dict "secret" $user "key" "user.key") -}}
{{- else -}}
{{- $_ := set $identity "mechanism" "SCRAM-SHA-512" -}}
{{- $_ := set $identity "username" $user -}}
{{- $_ := set $identity "password" (dict "secret" $user "key" "password") -}}
{{- end -}}
{{- else -}}
{{- $secret := $own.existingSecret | default $kafka.auth.existingSecret -}}
{{- if ne $kafka.auth.mechanism "none" -}}
{{- $username := $own.username | default (ternary "" $kafka.auth.username (not (empty $own.existingSecret))) -}}
{{- $_ := set $identity "mechanism" $kafka.auth.mechanism -}}
{{- $_ := set $identity "password" (dict "secret" $secret "key" ($own.passwordKey | default $kafka.auth.passwordKey)) -}}
{{- if $username -}}
{{- $_ := set $identity "username" $username -}}
{{- else -}}
{{- $_ := set $identity "usernameFile" (dict "secret" $secret "key" ($own.usernameKey | default $kafka.auth.usernameKey)) -}}
{{- end -}}
{{- end -}}
{{- $certKey := $own.certKey | default $kafka.tls.certKey -}}
{{- if and $kafka.tls.enabled $certKey -}}
{{- $holder := $kafka.tls.existingSecret -}}
{{- if and $own.existingSecret (or $own.certKey (eq $kafka.auth.mechanism "none")) }}{{ $holder = $own.existingSecret }}{{ end -}}
{{- $_ := set $identity "certificate" (dict "secret" $holder "key" $certKey) -}}
{{- $_ := set $identity "key" (dict "secret" $holder "key" ($own.keyKey | default $kafka.tls.keyKey)) -}}
{{- end -}}
{{- end -}}
{{- $identity | toJson -}}
{{- end }}

{{/* The same towards the registry: {username, ca, usernameFile, password}. */}}
{{- define "millrace.registryIdentity" -}}
{{- $registry := .root.Values.schemaRegistry -}}
{{- $own := .registry | default dict -}}
{{- $identity := dict -}}
{{- with $registry.existingCaSecret -}}
{{- $_ := set $identity "ca" (dict "secret" . "key" $registry.caKey) -}}
{{- end -}}
{{- with $own.existingSecret | default $registry.existingSecret -}}
{{- $_ := set $identity "password" (dict "secret" . "key" ($own.passwordKey | default $registry.passwordKey)) -}}
{{- $username := $own.username | default (ternary "" $registry.username (not (empty $own.existingSecret))) -}}
{{- if $username -}}
{{- $_ := set $identity "username" $username -}}
{{- else -}}
{{- $_ := set $identity "usernameFile" (dict "secret" . "key" ($own.usernameKey | default $registry.usernameKey)) -}}
{{- end -}}
{{- end -}}
{{- $identity | toJson -}}
{{- end }}

{{/* Options for addresses and identity, a YAML list. Call: (dict "root" $ "values" <workload> "principal" …) */}}
{{- define "millrace.accessArgs" -}}
{{- $values := .root.Values -}}
{{- $kafka := include "millrace.kafkaIdentity" (dict "root" .root "kafka" .values.kafka "principal" .principal) | fromJson -}}
{{- $registry := include "millrace.registryIdentity" (dict "root" .root "registry" .values.schemaRegistry) | fromJson -}}
{{- $args := list "--landscape" "/etc/millrace/landscape" "--brokers" $values.kafka.bootstrapServers -}}
{{- $args = concat $args (list "--registry" (join "," $values.schemaRegistry.urls)) -}}
{{- with $values.kafka.topicPrefix }}{{ $args = concat $args (list "--topic-prefix" .) }}{{ end -}}
{{- if $values.kafka.development }}{{ $args = append $args "--development" }}{{ end -}}
{{- with $kafka.mechanism }}{{ $args = concat $args (list "--kafka-mechanism" .) }}{{ end -}}
{{- with $kafka.username }}{{ $args = concat $args (list "--kafka-username" .) }}{{ end -}}
{{- with $kafka.usernameFile }}{{ $args = concat $args (list "--kafka-username-file" "/etc/millrace/secrets/kafka/username") }}{{ end -}}
{{- with $kafka.password }}{{ $args = concat $args (list "--kafka-password-file" "/etc/millrace/secrets/kafka/password") }}{{ end -}}
{{- with $kafka.ca }}{{ $args = concat $args (list "--kafka-ca-file" "/etc/millrace/secrets/kafka/ca.crt") }}{{ end -}}
{{- with $kafka.certificate }}{{ $args = concat $args (list "--kafka-certificate-file" "/etc/millrace/secrets/kafka/tls.crt") }}{{ end -}}
{{- with $kafka.key }}{{ $args = concat $args (list "--kafka-key-file" "/etc/millrace/secrets/kafka/tls.key") }}{{ end -}}
{{- with $registry.username }}{{ $args = concat $args (list "--registry-username" .) }}{{ end -}}
{{- with $registry.usernameFile }}{{ $args = concat $args (list "--registry-username-file" "/etc/millrace/secrets/registry/username") }}{{ end -}}
{{- with $registry.password }}{{ $args = concat $args (list "--registry-password-file" "/etc/millrace/secrets/registry/password") }}{{ end -}}
{{- with $registry.ca }}{{ $args = concat $args (list "--registry-ca-file" "/etc/millrace/secrets/registry/ca.crt") }}{{ end -}}
{{- toYaml $args -}}
{{- end }}

{{/* One projected volume that lays the keys out under fixed names. Call: (dict "name" "kafka-identity" "files" <path → {secret, key}>) */}}
{{- define "millrace.identityVolume" -}}
- name: {{ .name }}
  projected:
    # 0440: with fsGroup readable for the process and for nobody else
    defaultMode: 288
    sources:
      {{- range $path, $from := .files }}
      - secret:
          name: {{ $from.secret | quote }}
          items: [{key: {{ $from.key | quote }}, path: {{ $path | quote }}}]
      {{- end }}
{{- end }}

{{/* Volumes with the files that "millrace.accessArgs" names. */}}
{{- define "millrace.accessVolumes" -}}
{{- $kafka := include "millrace.kafkaFiles" . | fromJson }}
{{- $registry := include "millrace.registryFiles" . | fromJson }}
{{- if $kafka }}
{{ include "millrace.identityVolume" (dict "name" "kafka-identity" "files" $kafka) }}
{{- end }}
{{- if $registry }}
{{ include "millrace.identityVolume" (dict "name" "registry-identity" "files" $registry) }}
{{- end }}
{{- end }}

{{- define "millrace.accessMounts" -}}
{{- if include "millrace.kafkaFiles" . | fromJson }}
- {name: kafka-identity, mountPath: /etc/millrace/secrets/kafka, readOnly: true}
{{- end }}
{{- if include "millrace.registryFiles" . | fromJson }}
- {name: registry-identity, mountPath: /etc/millrace/secrets/registry, readOnly: true}
{{- end }}
{{- end }}

{{- define "millrace.kafkaFiles" -}}
{{- $identity := include "millrace.kafkaIdentity" (dict "root" .root "kafka" .values.kafka "principal" .principal) | fromJson -}}
{{- include "millrace.filesOf" $identity -}}
{{- end }}

{{- define "millrace.registryFiles" -}}
{{- $identity := include "millrace.registryIdentity" (dict "root" .root "registry" .values.schemaRegistry) | fromJson -}}
{{- include "millrace.filesOf" $identity -}}
{{- end }}

{{- define "millrace.filesOf" -}}
{{- $files := dict -}}
{{- range $part, $path := dict "ca" "ca.crt" "certificate" "tls.crt" "key" "tls.key" "usernameFile" "username" "password" "password" -}}
{{- with get $ $part }}{{ $_ := set $files $path . }}{{ end -}}
{{- end -}}
{{- $files | toJson -}}
{{- end }}
