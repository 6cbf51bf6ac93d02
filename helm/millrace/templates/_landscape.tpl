{{/*
The landscape's folder. A ConfigMap key cannot hold "/": destinations/mes-ulm.yaml is stored as destinations__mes-ulm.yaml and mounted
back with items. null removes a key only from the chart's own defaults; one that another values file brought stays, with the value null,
so every range skips it.
*/}}

{{- define "millrace.landscapeFiles" -}}
{{- $files := dict -}}
{{- range $path, $text := .Values.landscape.files -}}
{{- if not (kindIs "invalid" $text) }}{{ $_ := set $files $path $text }}{{ end -}}
{{- end -}}
{{- $files | toJson -}}
{{- end }}

{{- define "millrace.landscapeVolume" -}}
- name: landscape
{{- if .Values.landscape.volume }}
  {{- toYaml .Values.landscape.volume | nindent 2 }}
{{- else }}
  configMap:
    name: {{ include "millrace.name" (list . "landscape") }}
    items:
      {{- range $path, $text := include "millrace.landscapeFiles" . | fromJson }}
      - {key: {{ $path | replace "/" "__" | quote }}, path: {{ $path | quote }}}
      {{- end }}
{{- end }}
{{- end }}

{{/* What every process reads: a change rolls every pod, because each decides by, and names, the policy of the whole folder. */}}
{{- define "millrace.landscapeChecksum" -}}
{{- if .Values.landscape.volume -}}
{{- dict "volume" .Values.landscape.volume "version" .Values.landscape.policyVersion | toJson | sha256sum -}}
{{- else -}}
{{- include "millrace.landscapeFiles" . | sha256sum -}}
{{- end -}}
{{- end }}
