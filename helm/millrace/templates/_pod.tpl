{{/*
The pod of a service. Call: (dict "root" $ "component" "sink" "systemKind" "destination" "system" "mes-ulm" "principal" "sink-mes-ulm"
"binary" "millrace-sink" "values" <workload> "args" <its own options> "volumes" <own> "mounts" <own> "ports" <own>)
*/}}
{{- define "millrace.pod" -}}
{{- $root := .root }}
{{- $values := .values }}
{{- $grace := int $values.terminationGracePeriodSeconds }}
metadata:
  labels:
    {{- include "millrace.selector" . | nindent 4 }}
    {{- with mergeOverwrite (deepCopy $root.Values.commonLabels) (deepCopy ($values.podLabels | default dict)) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/landscape: {{ include "millrace.landscapeChecksum" $root }}
    {{- with mergeOverwrite (deepCopy $root.Values.podAnnotations) (deepCopy ($values.podAnnotations | default dict)) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "millrace.podBasics" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ $grace }}
  {{- include "millrace.scheduling" . | trim | nindent 2 }}
  {{- with concat ($root.Values.initContainers | default list) ($values.initContainers | default list) }}
  initContainers: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "millrace.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [/usr/local/bin/{{ .binary }}]
      args:
        {{- with .args }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- include "millrace.accessArgs" . | nindent 8 }}
        {{- include "millrace.serviceArgs" . | nindent 8 }}
      env:
        - name: MILLRACE_INSTANCE
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        {{- with concat ($root.Values.extraEnv | default list) ($values.extraEnv | default list) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with concat ($root.Values.extraEnvFrom | default list) ($values.extraEnvFrom | default list) }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: ops, containerPort: 8081, protocol: TCP}
        {{- with .ports }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      # Ready = built, restored, assignment taken; while it starts it may wait for topics and schemas that the provisioning still makes.
      startupProbe:
        httpGet: {path: /readyz, port: ops}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: {{ div (add (int $values.startupSeconds) 4) 5 }}
      # Alive = the main loop ticked; never the broker's or the destination's health, which a restart does not mend.
      livenessProbe:
        httpGet: {path: /livez, port: ops}
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: ops}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 3
      securityContext: {{- toYaml $root.Values.containerSecurityContext | nindent 8 }}
      resources: {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        {{- include "millrace.commonMounts" . | nindent 8 }}
        {{- if $values.existingSecret }}
        - {name: system-secret, mountPath: /etc/millrace/secrets/system, readOnly: true}
        {{- end }}
        {{- with .mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with concat ($root.Values.extraVolumeMounts | default list) ($values.extraVolumeMounts | default list) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with concat ($root.Values.sidecars | default list) ($values.sidecars | default list) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "millrace.commonVolumes" . | nindent 4 }}
    {{- with $values.existingSecret }}
    - name: system-secret
      secret:
        secretName: {{ . | quote }}
        # 0440
        defaultMode: 288
        {{- with $values.secretKeys }}
        items:
          {{- range $file, $key := . }}
          - {key: {{ $key | quote }}, path: {{ $file | quote }}}
          {{- end }}
        {{- end }}
    {{- end }}
    {{- with .volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with concat ($root.Values.extraVolumes | default list) ($values.extraVolumes | default list) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Options that every service has. The drain ends before the grace period does; a process that waits in vain says so before its probe
gives up. */}}
{{- define "millrace.serviceArgs" -}}
{{- $all := .root.Values -}}
{{- $args := list "--ops" "0.0.0.0:8081" "--log-format" $all.log.format "--log" $all.log.filter -}}
{{- $args = concat $args (list "--start-timeout" (printf "%ds" (sub (int .values.startupSeconds) 30))) -}}
{{- $args = concat $args (list "--drain-timeout" (printf "%ds" (sub (int .values.terminationGracePeriodSeconds) 15))) -}}
{{- if .system }}{{ $args = concat $args (list "--secrets" "/etc/millrace/secrets/system") }}{{ end -}}
{{- with .values.endpoint }}{{ $args = concat $args (list "--endpoint" .) }}{{ end -}}
{{- with $all.tracing.otlpEndpoint -}}
{{- $args = concat $args (list "--otlp-endpoint" . "--trace-ratio" ($all.tracing.sampleRatio | toString)) -}}
{{- end -}}
{{- with concat ($all.extraArgs | default list) (.values.extraArgs | default list) }}{{ $args = concat $args . }}{{ end -}}
{{- toYaml $args -}}
{{- end }}

{{/* Identity of a pod towards the cluster: none. */}}
{{- define "millrace.podBasics" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with concat (.root.Values.global.imagePullSecrets | default list) (.root.Values.image.pullSecrets | default list) }}
imagePullSecrets:
  {{- range . }}
  {{- if kindIs "string" . }}
  - {name: {{ . }}}
  {{- else }}
  - {{ toYaml . | nindent 4 | trim }}
  {{- end }}
  {{- end }}
{{- end }}
securityContext: {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- end }}

{{/* Soft by default: a fleet on a one-node cluster still runs. */}}
{{- define "millrace.scheduling" -}}
{{- $all := .root.Values -}}
{{- $values := .values -}}
{{- with $values.priorityClassName | default $all.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector | default $all.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations | default $all.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity | default $all.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- with $values.topologySpreadConstraints | default $all.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "millrace.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "millrace.commonMounts" -}}
- {name: landscape, mountPath: /etc/millrace/landscape, readOnly: true}
- {name: scratch, mountPath: /tmp}
{{- include "millrace.accessMounts" . }}
{{- end }}

{{- define "millrace.commonVolumes" -}}
{{ include "millrace.landscapeVolume" .root }}
- name: scratch
  emptyDir: {sizeLimit: 64Mi}
{{- include "millrace.accessVolumes" . }}
{{- end }}

{{/* A headless Service: the StatefulSet's name giver, and what the ServiceMonitor finds. */}}
{{- define "millrace.headless" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .serviceName | default .name }}
  labels:
    {{- include "millrace.labels" . | nindent 4 }}
    millrace/metrics: "true"
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {{- include "millrace.selector" . | nindent 4 }}
  ports:
    - {name: ops, port: 8081, targetPort: ops, protocol: TCP}
{{- end }}

{{/* Where more than one replica shares the work, a drain of nodes leaves one. */}}
{{- define "millrace.disruptionBudget" -}}
{{- $values := .values }}
{{- $scaled := eq (dig "autoscaling" "mode" "none" $values) "keda" }}
{{- if or (gt (int $values.replicaCount) 1) $scaled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{- include "millrace.labels" . | nindent 4 }}
spec:
  {{- toYaml $values.podDisruptionBudget | nindent 2 }}
  selector:
    matchLabels: {{- include "millrace.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* Where every service that is meant to run has its probes, comma-separated: the doctor asks each what it lacks. */}}
{{- define "millrace.opsAddresses" -}}
{{- $names := list -}}
{{- range $kind := list (list "publisher" .Values.publisher .Values.sources) (list "sink" .Values.sink .Values.destinations) -}}
{{- range $name, $over := index $kind 2 -}}
{{- if not (kindIs "invalid" $over) -}}
{{- $values := mergeOverwrite (deepCopy (index $kind 1)) (deepCopy $over) -}}
{{- $scaled := and $values.autoscaling (ne $values.autoscaling.mode "none") -}}
{{- if and $values.enabled (or $scaled (gt (int $values.replicaCount) 0)) }}{{ $names = append $names (printf "%s-%s" (index $kind 0) $name) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $component := list "validator" "replayer" -}}
{{- if gt (int (get $.Values $component).replicaCount) 0 }}{{ $names = append $names $component }}{{ end -}}
{{- end -}}
{{- $addresses := list -}}
{{- range $names }}{{ $addresses = append $addresses (printf "http://%s:8081" (include "millrace.name" (list $ .))) }}{{ end -}}
{{- join "," $addresses -}}
{{- end }}
