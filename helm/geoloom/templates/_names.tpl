{{- /*
Names are fixed, as those of the JupyterHub chart are ("hub", "proxy-public"): one release in one namespace.
Values handed to that chart are plain text, so they can only name what has one name.
Components: engine, chains, tiles, backup, apps, usage.
*/}}

{{- /* geoloom.labels (list . "engine"): all labels of an object. */}}
{{- define "geoloom.labels" -}}
{{- $root := index . 0 -}}
{{ include "geoloom.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: geoloom
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* geoloom.selector (list . "engine"): the labels that find a component's pods. They never change. */}}
{{- define "geoloom.selector" -}}
app.kubernetes.io/name: geoloom
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* geoloom.image (list . .Values.engine.image): the tag is the project's version unless another is given. */}}
{{- define "geoloom.image" -}}
{{- $image := index . 1 -}}
image: {{ printf "%s:%s" $image.name ($image.tag | default (index . 0).Chart.AppVersion) | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end }}

{{- /* geoloom.pod (list . .Values.engine 1000): what every pod of ours says of itself; the number is its user's. */}}
{{- define "geoloom.pod" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $user := index . 2 -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $user }}
  runAsGroup: {{ $user }}
  fsGroup: {{ $user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: {{ $root.Values.seccomp.type }}
    {{- with $root.Values.seccomp.localhostProfile }}
    localhostProfile: {{ . }}
    {{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $component.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $component.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $component.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What every container of ours may do: nothing but run. */}}
{{- define "geoloom.container.security" -}}
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "geoloom.hub" -}}
{{- with (.Values.jupyterhub).fullnameOverride }}{{ . }}-{{ end -}}
hub
{{- end }}

{{- define "geoloom.hub.base" -}}
{{- dig "hub" "baseUrl" "/" (.Values.jupyterhub | default dict) | trimSuffix "/" }}
{{- end }}

{{- define "geoloom.hub.api" -}}
http://{{ include "geoloom.hub" . }}:8081{{ include "geoloom.hub.base" . }}/hub/api
{{- end }}

{{- /* The path under which browsers find the engine. */}}
{{- define "geoloom.prefix" -}}
{{ include "geoloom.hub.base" . }}/services/tiles
{{- end }}
