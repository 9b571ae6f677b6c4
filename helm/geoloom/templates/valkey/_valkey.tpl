{{- /* geoloom.valkey (list . "chains" .Values.chains): a pod with a Valkey. */}}
{{- define "geoloom.valkey" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $one := index . 2 -}}
metadata:
  labels:
    {{- include "geoloom.selector" (list $root $name) | nindent 4 }}
  annotations:
    # What is changed in the values is read at the start only.
    checksum/configuration: {{ include "geoloom.valkey.configuration" . | sha256sum }}
spec:
  {{- include "geoloom.pod" (list $root $one 999) | nindent 2 }}
  terminationGracePeriodSeconds: 60
  containers:
    - name: valkey
      {{- include "geoloom.image" (list $root $root.Values.valkey.image) | nindent 6 }}
      command: [valkey-server, /etc/valkey/valkey.conf]
      env:
        - name: REDISCLI_AUTH
          valueFrom:
            secretKeyRef:
              name: geoloom-secrets
              key: {{ $name }}-password
      ports:
        - name: valkey
          containerPort: 6379
      startupProbe:
        tcpSocket:
          port: valkey
        periodSeconds: 2
        failureThreshold: 30
      # Not ready while it reads its file: it answers LOADING then, and engines wait.
      readinessProbe:
        exec:
          command: [sh, -c, "test \"$(valkey-cli ping)\" = PONG"]
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      livenessProbe:
        tcpSocket:
          port: valkey
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      resources:
        {{- toYaml $one.resources | nindent 8 }}
      {{- include "geoloom.container.security" $root | nindent 6 }}
      volumeMounts:
        - name: configuration
          mountPath: /etc/valkey
          readOnly: true
        - name: data
          mountPath: /data
  volumes:
    - name: configuration
      projected:
        sources:
          - configMap:
              name: geoloom-{{ $name }}
          - secret:
              name: geoloom-secrets
              items:
                - key: {{ $name }}.conf
                  path: secret.conf
{{- end }}

{{- define "geoloom.valkey.configuration" -}}
{{- $name := index . 1 -}}
{{- $one := index . 2 -}}
# The password is in a file of its own, from the release's Secret.
include /etc/valkey/secret.conf
port 6379
bind * -::*
dir /data
maxmemory {{ $one.maxMemory }}
{{- if eq $name "chains" }}
# A chain that the engine has confirmed is on the disk, whatever ends a moment later. What is kept for good is never
# let go; of unsaved chains those that are used least go first, should memory end.
appendonly yes
appendfsync always
aof-load-truncated yes
save ""
maxmemory-policy volatile-lfu
lfu-decay-time 1440
maxmemory-samples 64
{{- else }}
# A cache: nothing is written, what is not asked for goes.
appendonly no
save ""
maxmemory-policy allkeys-lru
{{- end }}
{{- end }}

{{- define "geoloom.valkey.around" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: geoloom-{{ $name }}
  labels:
    {{- include "geoloom.labels" (list $root $name) | nindent 4 }}
data:
  valkey.conf: |
    {{- include "geoloom.valkey.configuration" . | nindent 4 }}
---
apiVersion: v1
kind: Service
metadata:
  name: geoloom-{{ $name }}
  labels:
    {{- include "geoloom.labels" (list $root $name) | nindent 4 }}
spec:
  type: ClusterIP
  selector:
    {{- include "geoloom.selector" (list $root $name) | nindent 4 }}
  ports:
    - name: valkey
      port: 6379
      targetPort: valkey
{{- end }}
