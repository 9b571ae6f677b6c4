{{- /* Who is who, in network policies. Ports are numbers in them: not every network plugin knows names on the way out. */}}

{{- /* geoloom.peer (list . "engine"): pods of ours. */}}
{{- define "geoloom.peer" -}}
- podSelector:
    matchLabels:
      {{- include "geoloom.selector" . | nindent 6 }}
{{- end }}

{{- /* geoloom.hub.peer (list . "proxy"): pods of the JupyterHub chart, by the labels that its own policies use. */}}
{{- define "geoloom.hub.peer" -}}
- podSelector:
    matchLabels:
      app: {{ ((index . 0).Values.jupyterhub).nameOverride | default "jupyterhub" }}
      release: {{ (index . 0).Release.Name }}
      component: {{ index . 1 }}
{{- end }}

{{- define "geoloom.dns" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    {{- range .Values.networkPolicy.dns }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}

{{- /* geoloom.policy.head (list . "engine"): a policy for a component's pods. */}}
{{- define "geoloom.policy.head" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: geoloom-{{ index . 1 }}
  labels:
    {{- include "geoloom.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "geoloom.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end }}
