{{- /* A value as text. Numbers come as floats here: a million would be 1e+06. */}}
{{- define "geoloom.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ printf "%.0f" . }}{{ else }}{{ toString . }}{{ end }}
{{- end }}

{{- /* The engine's settings. Secrets come by reference, all else can be read in the manifest. */}}
{{- define "geoloom.engine.env" -}}
{{- $catalogs := list }}
{{- range $name, $place := .Values.data.catalogs }}
{{- $catalogs = append $catalogs (printf "%s=%s" $name $place) }}
{{- end }}
{{- $restricted := list }}
{{- range $place, $groups := .Values.data.restricted }}
{{- $restricted = append $restricted (printf "%s=%s" $place (join "+" $groups)) }}
{{- end }}
{{- $fixed := dict
  "GEOLOOM_HOST" "0.0.0.0"
  "GEOLOOM_PORT" "8080"
  "GEOLOOM_WORKERS" .Values.engine.workers
  "GEOLOOM_PREFIX" (include "geoloom.prefix" .)
  "GEOLOOM_HUB_API_URL" (include "geoloom.hub.api" .)
  "GEOLOOM_HUB_SERVICE" "tiles"
  "GEOLOOM_INDEXES" "/cache/indexes"
  "GEOLOOM_DRAIN_TIMEOUT" (printf "%ds" (int .Values.engine.drain.requestSeconds))
  "GEOLOOM_SOURCES" (join "," .Values.data.sources)
  "GEOLOOM_CATALOGS" (join "," $catalogs)
  "GEOLOOM_RESTRICTED" (join "," $restricted)
  "GEOLOOM_LOG_FORMAT" "json"
}}
{{- $origins := list }}
{{- if .Values.ingress.enabled }}
{{- range .Values.ingress.hosts }}
{{- if not (hasPrefix "*" .) }}
{{- $origins = append $origins (printf "http%s://%s" (ternary "s" "" (gt (len $.Values.ingress.tls) 0)) .) }}
{{- end }}
{{- end }}
{{- end }}
{{- /* These may be set otherwise in engine.settings. */}}
{{- $defaults := dict
  "GEOLOOM_ALLOWED_ORIGINS" (join "," $origins)
}}
{{- $settings := merge $fixed .Values.engine.settings $defaults -}}
env:
  {{- range $name, $value := $settings }}
  - name: {{ $name }}
    value: {{ include "geoloom.text" $value | quote }}
  {{- end }}
  {{- range $name, $key := dict
    "GEOLOOM_REDIS_URL" "chains-url"
    "GEOLOOM_TILE_REDIS_URL" "tiles-url"
    "GEOLOOM_TOKEN" "token"
    "GEOLOOM_SIGNING_KEY" "signing-key"
    "GEOLOOM_NONCE" "nonce"
    "GEOLOOM_METRICS_TOKEN" "metrics-token"
  }}
  - name: {{ $name }}
    valueFrom:
      secretKeyRef:
        name: geoloom-secrets
        key: {{ $key }}
  {{- end }}
  - name: NUMBA_CACHE_DIR
    value: /cache/numba
  - name: XDG_CACHE_HOME
    value: /cache
  - name: HOME
    value: /tmp
  {{- with .Values.data.environment }}
  {{- range $name, $value := . }}
  - name: {{ $name }}
    value: {{ include "geoloom.text" $value | quote }}
  {{- end }}
  {{- end }}
{{- with .Values.data.environmentSecrets }}
envFrom:
  {{- range . }}
  - secretRef:
      name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "geoloom.engine.mounts" -}}
volumeMounts:
  - name: cache
    mountPath: /cache
  - name: tmp
    mountPath: /tmp
  {{- range .Values.data.volumes }}
  - name: {{ .name }}
    mountPath: {{ .mountPath }}
    readOnly: true
  {{- end }}
{{- end }}
