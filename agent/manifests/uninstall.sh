#!/bin/sh
# Takes Postern out of the cluster that kubectl points at, in an order that leaves no Service stuck in deletion. Needs nothing
# but kubectl, may be repeated, and ends what a plain `kubectl delete` began: also where no agent runs, or none ever did.
# What is not Postern's on a Service (other finalizers, other conditions, IP addresses) stays; so do Services that do not carry its condition.
# Instead of kubectl: KUBECTL="k3s kubectl" sh uninstall.sh
set -eu

kubectl=${KUBECTL:-kubectl}
ours="-l app.kubernetes.io/name=postern-agent"

# The leading agent takes its marks off all Services while it stops. The pod of a node that is gone never does.
$kubectl delete daemonsets -A $ours --cascade=foreground --timeout=90s ||
  $kubectl delete pods -A $ours --force --grace-period=0

# From here on nobody can set a mark again.
$kubectl delete clusterrolebindings $ours

# NAMESPACE NAME PATCH for every Service that still carries Postern's condition: one line each.
marked() {
  $kubectl get services -A -o go-template='{{range .items}}{{$marked := false}}{{range .status.conditions}}{{if eq .type "postern.dev/Programmed"}}{{$marked = true}}{{end}}{{end}}{{if $marked -}}
{{.metadata.namespace}} {{.metadata.name}} {"metadata":{"uid":"{{.metadata.uid}}","$deleteFromPrimitiveList/finalizers":["service.kubernetes.io/load-balancer-cleanup"]},"status":{"loadBalancer":{"ingress":[
{{- $more := false}}{{range .status.loadBalancer.ingress}}{{if .ip}}{{if $more}},{{end}}{{$more = true}}{"ip":{{printf "%q" .ip}}{{if .ipMode}},"ipMode":{{printf "%q" .ipMode}}{{end}}}{{end}}{{end -}}
]},"conditions":[
{{- range .status.conditions}}{{$of := ""}}{{if ge (len .type) 12}}{{$of = slice .type 0 12}}{{end}}{{if or (eq $of "postern.dev/") (eq .type "LoadBalancerPortsError")}}{"$patch":"delete","type":{{printf "%q" .type}}},{{end}}{{end -}}
{"$patch":"delete","type":"postern.dev/Programmed"}]}}{{"\n"}}{{end}}{{end}}'
}
left=$(marked)
[ -z "$left" ] || printf '%s\n' "$left" | while read -r namespace name patch; do
  # One that fails, for it is gone or was changed in this moment, is seen below.
  $kubectl patch service "$name" -n "$namespace" --subresource=status --type=strategic -p "$patch" || true
done

$kubectl delete namespaces,priorityclasses,clusterroles,validatingadmissionpolicybindings,validatingadmissionpolicies $ours --timeout=120s

left=$(marked)
if [ -n "$left" ]; then
  printf 'These Services still carry what Postern put there. Run this again:\n%s\n' "$left" | cut -d' ' -f1,2 >&2
  exit 1
fi
echo "Postern is out of this cluster."
