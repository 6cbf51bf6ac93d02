{{/*
Names, labels and the image. Every object's name comes from "millrace.name".
*/}}

{{- define "millrace.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 30 | trimSuffix "-" -}}
{{- end }}

{{/*
<release>-<what>, at most 52 characters: a StatefulSet's controller appends a hash and keeps the result in a label of 63. What is longer
ends in a hash of the whole name, so that two long names that begin alike stay two. Call: (list $ "sink-mes-ulm")
*/}}
{{- define "millrace.name" -}}
{{- $full := printf "%s-%s" (include "millrace.fullname" (index . 0)) (index . 1) -}}
{{- if gt (len $full) 52 -}}
{{- printf "%s-%s" ($full | trunc 43 | trimSuffix "-") ($full | sha256sum | trunc 8) -}}
{{- else -}}
{{- $full -}}
{{- end -}}
{{- end }}

{{- define "millrace.image" -}}
{{- $image := .Values.image -}}
{{- $registry := .Values.global.imageRegistry | default $image.registry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* What selects pods, and never changes: (dict "root" $ "component" "sink" "systemKind" "destination" "system" "mes-ulm") */}}
{{- define "millrace.selector" -}}
app.kubernetes.io/name: millrace
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .system }}
millrace/{{ $.systemKind }}: {{ . }}
{{- end }}
{{- end }}

{{/* Labels of every object: (dict "root" $ "component" …), component may be missing. */}}
{{- define "millrace.labels" -}}
app.kubernetes.io/name: millrace
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: millrace
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .system }}
millrace/{{ $.systemKind }}: {{ . }}
{{- end }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
