{{- /* geoloom.hub.service (list . "apps" 8866): what JupyterHub tells its services in their environment. */}}
{{- define "geoloom.hub.service" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $base := include "geoloom.hub.base" $root -}}
{{- $hub := dig "hub" "extraEnv" dict ($root.Values.jupyterhub | default dict) -}}
{{- /* The same as in hub/jupyterhub_config.d/50_cookies.py. */}}
{{- $subdomains := $hub.GEOLOOM_HUB_SUBDOMAINS | default "" -}}
{{- $secure := hasPrefix "https://" ($subdomains | default $hub.GEOLOOM_HUB_PUBLIC_URL | default "") -}}
env:
  - name: JUPYTERHUB_COOKIE_OPTIONS
    value: '{"samesite": "Lax"{{ if $secure }}, "secure": true{{ end }}}'
  - name: JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED
    value: {{ and $secure (ne $subdomains "") | ternary "1" "0" | quote }}
  - name: JUPYTERHUB_SERVICE_NAME
    value: {{ $name }}
  - name: JUPYTERHUB_SERVICE_PREFIX
    value: {{ $base }}/services/{{ $name }}/
  - name: JUPYTERHUB_SERVICE_URL
    value: http://0.0.0.0:{{ index . 2 }}
  - name: JUPYTERHUB_HOST
    value: {{ $hub.GEOLOOM_HUB_SUBDOMAINS | default "" | quote }}
  # With its host: the hub sends nobody to another address than the one that it expects.
  - name: JUPYTERHUB_OAUTH_CALLBACK_URL
    value: {{ $subdomains | trimSuffix "/" | replace "://" "://hub--services." }}{{ $base }}/services/{{ $name }}/oauth_callback
  - name: JUPYTERHUB_BASE_URL
    value: {{ $base }}/
  - name: JUPYTERHUB_API_URL
    value: {{ include "geoloom.hub.api" $root }}
  - name: JUPYTERHUB_CLIENT_ID
    value: service-{{ $name }}
  - name: JUPYTERHUB_OAUTH_ACCESS_SCOPES
    value: '["access:services", "access:services!service={{ $name }}"]'
  - name: JUPYTERHUB_API_TOKEN
    valueFrom:
      secretKeyRef:
        name: geoloom-secrets
        key: {{ $name }}-token
  - name: GEOLOOM_ENGINE_URL
    value: http://geoloom-engine:8080
  - name: GEOLOOM_TILES_URL
    value: {{ $hub.GEOLOOM_HUB_TILES_URL | default (include "geoloom.prefix" $root) }}
  - name: GEOLOOM_TOKEN_FROM
    value: JUPYTERHUB_API_TOKEN
  - name: HOME
    value: /tmp
{{- end }}

{{- /* geoloom.hub.service.probes (list . "apps"): their pages ask for a login, this one does not. */}}
{{- define "geoloom.hub.service.probes" -}}
{{- $path := printf "%s/services/%s/health" (include "geoloom.hub.base" (index . 0)) (index . 1) -}}
startupProbe:
  httpGet:
    path: {{ $path }}
    port: http
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet:
    path: {{ $path }}
    port: http
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet:
    path: {{ $path }}
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}
