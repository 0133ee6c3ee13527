{{- define "assay.config" -}}
{{ .Values.config | default (.Files.Get "files/kubernetes/base/assay.toml") }}
{{- end }}

{{- /* Without Redis each pod takes its share of a quota, so it must know the most that there can be. */ -}}
{{- define "assay.check" -}}
{{- $most := add .Values.api.pods_max .Values.worker.pods_max | int }}
{{- $told := regexFind `(?m)^\s*pods_max\s*=\s*[\d_]+` (include "assay.config" .) }}
{{- $told = regexFind `[\d_]+$` $told | replace "_" "" | int }}
{{- if and (ne .Values.autoscaler "none") (lt $told $most) }}
  {{- fail (printf "config: [quota] pods_max must be at least api.pods_max + worker.pods_max = %d, and is %d" $most $told) }}
{{- end }}
{{- end }}

{{- /* Whether the settings or the environment name a file of this folder. */ -}}
{{- define "assay.named" -}}
{{- if contains (print .path "/") (print (include "assay.config" .root) (toJson .root.Values.env)) }}yes{{ end }}
{{- end }}

{{- /* One object as the values want it, or nothing. */ -}}
{{- define "assay.object" -}}
{{- $root := .root }}{{ $values := .root.Values }}{{ $object := .object }}
{{- $name := $object.metadata.name }}
{{- $pods := get (dict "assay-api" $values.api "assay-worker" $values.worker) $name }}
{{- $keep := true }}
{{- if eq $object.kind "ServiceAccount" }}
  {{- with $values.serviceAccountAnnotations }}{{ $_ := set $object.metadata "annotations" . }}{{ end }}
{{- else if and (has $object.kind (list "Deployment" "Job")) (ne $name "assay-otel-collector") }}
  {{- include "assay.pod" (dict "root" $root "template" $object.spec.template "pods" $pods) }}
  {{- if eq $object.kind "Job" }}
    {{- /* A Job cannot be changed, so each upgrade has its own. */ -}}
    {{- $_ := set $object.metadata "name" (printf "%s-%d" $name $root.Release.Revision) }}
    {{- $keep = include "assay.named" (dict "root" $root "path" "/run/secrets/assay/records") }}
  {{- else if eq $values.autoscaler "none" }}
    {{- $_ := set $object.spec "replicas" $pods.pods_min }}
  {{- end }}
{{- else if eq $object.kind "HorizontalPodAutoscaler" }}
  {{- $_ := set $object.spec "minReplicas" $pods.pods_min }}
  {{- $_ := set $object.spec "maxReplicas" $pods.pods_max }}
{{- else if eq $object.kind "ScaledObject" }}
  {{- $_ := set $object.spec "minReplicaCount" $pods.pods_min }}
  {{- $_ := set $object.spec "maxReplicaCount" $pods.pods_max }}
{{- else if eq $object.kind "PodDisruptionBudget" }}
  {{- /* It would block the drain of the node with the only pod. */ -}}
  {{- $keep = gt (int $pods.pods_min) 1 }}
{{- else if eq $object.kind "NetworkPolicy" }}
  {{- $keep = $values.networkPolicies }}
  {{- if eq $name "assay-migrate-egress" }}
    {{- $keep = and $keep (include "assay.named" (dict "root" $root "path" "/run/secrets/assay/records")) }}
  {{- end }}
{{- else if eq $object.kind "Ingress" }}
  {{- $_ := set $object.spec "ingressClassName" $values.ingress.className }}
  {{- $_ := set $object.spec "tls" (list (dict "hosts" (list $values.host) "secretName" $values.ingress.tlsSecret)) }}
  {{- $_ := set (first $object.spec.rules) "host" $values.host }}
{{- else if eq $object.kind "HTTPRoute" }}
  {{- $_ := set $object.spec "hostnames" (list $values.host) }}
  {{- $_ := set $object.spec "parentRefs" $values.httpRoute.parentRefs }}
{{- end }}
{{- $_ := set $object.metadata "namespace" $root.Release.Namespace }}
{{- $_ := set $object.metadata "labels" (merge (dict
    "app.kubernetes.io/part-of" "assay"
    "app.kubernetes.io/instance" $root.Release.Name
    "app.kubernetes.io/managed-by" $root.Release.Service
    "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version)
  ) ($object.metadata.labels | default dict)) }}
{{- if $keep }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}

{{- /* Changes the template of a pod: image, mounted secrets, and what the values add. */ -}}
{{- define "assay.pod" -}}
{{- $root := .root }}{{ $values := .root.Values }}{{ $pod := .template.spec }}
{{- $container := first $pod.containers }}
{{- $_ := set $container "image" (printf "%s:%s" $values.image.repository ($values.image.tag | default $root.Chart.AppVersion)) }}
{{- $otel := list }}
{{- if $values.otelCollector }}
  {{- $otel = list (dict "name" "OTEL_EXPORTER_OTLP_ENDPOINT" "value" "http://assay-otel-collector:4318") }}
{{- end }}
{{- $_ := set $container "env" (concat $container.env $otel $values.env) }}
{{- with .pods }}{{ $_ := mergeOverwrite $container.resources (deepCopy .resources) }}{{ end }}
{{- $secrets := dict }}
{{- $mounts := list }}
{{- range $container.volumeMounts }}
  {{- if not (hasPrefix "/run/secrets/assay/" .mountPath) }}
    {{- $mounts = append $mounts . }}
  {{- else if include "assay.named" (dict "root" $root "path" .mountPath) }}
    {{- $mounts = append $mounts . }}
    {{- $_ := set $secrets .name (get $values.secrets (base .mountPath)) }}
  {{- end }}
{{- end }}
{{- $_ := set $container "volumeMounts" (concat $mounts $values.volumeMounts) }}
{{- $volumes := list }}
{{- range $pod.volumes }}
  {{- if and .secret (hasKey $secrets .name) }}{{ $_ := set .secret "secretName" (get $secrets .name) }}{{ end }}
  {{- if or (not .secret) (hasKey $secrets .name) }}{{ $volumes = append $volumes . }}{{ end }}
{{- end }}
{{- $_ := set $pod "volumes" (concat $volumes $values.volumes) }}
{{- with $values.image.pullSecrets }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end }}
{{- $_ := mergeOverwrite $pod (deepCopy $values.pod) }}
{{- $_ := set .template.metadata "labels" (merge .template.metadata.labels $values.podLabels) }}
{{- /* Changed settings start new pods. */ -}}
{{- $_ := set .template.metadata "annotations" (merge (dict "checksum/config" (include "assay.config" $root | sha256sum)) $values.podAnnotations) }}
{{- end }}
