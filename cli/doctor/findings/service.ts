// The Service itself: whose it is, its annotations, and whether it is on its way out. Pure.
import { excludedReason } from "../../../agent/plan/nodes.ts";
import { settingsConditions } from "../../../agent/plan/conditions.ts";
import { protocolConditions } from "../../../agent/plan/protocols.ts";
import { annotation, CLASS, DOMAIN } from "../../../src/shared/model/annotations.ts";
import { endpointAlgorithms } from "../../../src/shared/model/snapshot.ts";
import type { Facts } from "../facts.ts";
import { type Finding, finding, several } from "../finding.ts";
import { nearest } from "../nearest.ts";
import { named, patch, type Subject } from "../subject.ts";

export const serviceFindings = (subject: Subject, facts: Facts): Finding[] => [
  ...whose(subject),
  ...annotations(subject),
  ...(subject.stance === "ours" ? [...declared(subject), ...noSelector(subject, facts)] : []),
  ...leaving(subject, facts),
];

function whose(subject: Subject): Finding[] {
  const { stance, service, object, meantForUs } = subject;
  const { type, loadBalancerClass: given } = service.spec;
  const makeOurs = `kubectl get ${named(subject)} -o yaml   # delete it and create it anew with loadBalancerClass: ${CLASS}: the field cannot be changed`;
  if (stance === "classless")
    return [
      finding(
        "class-missing",
        "error",
        object,
        "type LoadBalancer, no loadBalancerClass, and nobody gave it an address",
        patch(subject, { spec: { loadBalancerClass: CLASS } }),
      ),
    ];
  if (stance === "foreign") {
    const writers = service.metadata.managedFields;
    const by =
      given === undefined
        ? `no class, and ${writers[0] ?? "another controller"} gave it its address`
        : `loadBalancerClass: ${given}`;
    const meant = given === undefined ? "" : nearest(given, [CLASS]) === undefined ? "" : `; ${CLASS} is Postern's`;
    return [finding("class-foreign", meantForUs ? "error" : "info", object, `${by}${meant}`, makeOurs)];
  }
  if (stance === "ours") return [];
  const hint =
    type === "ExternalName" || service.spec.clusterIP === "None"
      ? `kubectl annotate ${named(subject)} ${annotation.expose}=true`
      : patch(subject, { spec: { type: "LoadBalancer", loadBalancerClass: CLASS } });
  return [finding("type-not-exposed", meantForUs ? "error" : "info", object, `type ${type}`, hint)];
}

const ofServices: readonly string[] = [
  annotation.transport,
  annotation.algorithm,
  annotation.endpointAlgorithm,
  annotation.hostname,
  annotation.expose,
  annotation.ports,
];
const ofNodes: readonly string[] = [annotation.directAddress, annotation.weight];

function annotations(subject: Subject): Finding[] {
  const { object, service, settings } = subject;
  const unknown = Object.keys(service.metadata.annotations).filter(
    (name) => name.startsWith(DOMAIN) && !ofServices.includes(name),
  );
  const found = unknown.map((name) => {
    const value = service.metadata.annotations[name] ?? "";
    const meant = nearest(
      name.slice(DOMAIN.length),
      ofServices.map((each) => each.slice(DOMAIN.length)),
    );
    const seen = ofNodes.includes(name)
      ? `${name} is read on Nodes, not on Services`
      : `there is no ${name}${meant === undefined ? `; there are ${ofServices.join(", ")}` : `: ${DOMAIN}${meant} is the nearest`}`;
    const mend =
      meant === undefined || ofNodes.includes(name)
        ? `kubectl annotate ${named(subject)} ${name}-`
        : `kubectl annotate ${named(subject)} ${name}- ${DOMAIN}${meant}='${value}'`;
    return finding("annotation-unknown", "warning", object, seen, mend);
  });
  const [ignored] = settingsConditions(settings, endpointAlgorithms);
  if (ignored !== undefined)
    found.push(finding("annotation-ignored", "warning", object, ignored.message, `kubectl edit ${named(subject)}`));
  return found;
}

/** Nothing but what is written: known before any agent has seen it. */
function declared(subject: Subject): Finding[] {
  const { object, ports, slices } = subject;
  const found = protocolConditions(ports, slices).map(({ message }) =>
    finding("protocol-declared", "warning", object, message, `kubectl edit ${named(subject)}`),
  );
  const datagrams = ports.filter(({ protocol }) => protocol !== "TCP");
  if (datagrams.length > 0) {
    const seen = datagrams.map(({ port, protocol }) => `${protocol} port ${port}`).join(", ");
    const mend = `kubectl edit ${named(subject)}   # a Service of another load balancer for them`;
    found.push(
      finding("protocol-not-carried", datagrams.length === ports.length ? "error" : "warning", object, seen, mend),
    );
  }
  return found;
}

function noSelector(subject: Subject, { kube }: Facts): Finding[] {
  const { service, selector, endpoints, object, slices } = subject;
  const { namespace, name } = service.metadata;
  const isUnread = kube.unread.some(({ what }) => what === "endpointslices" || what === "everything");
  if (Object.keys(selector).length > 0 || service.spec.type === "ExternalName" || endpoints.length > 0 || isUnread)
    return [];
  const names = slices.some(({ addressType }) => addressType === "FQDN")
    ? "EndpointSlices with names instead of addresses"
    : "no EndpointSlice with an address";
  return [
    finding(
      "selector-missing",
      "error",
      object,
      `no spec.selector, and ${names}`,
      `kubectl -n ${namespace} get endpointslices -l kubernetes.io/service-name=${name}`,
    ),
  ];
}

function leaving(subject: Subject, { kube }: Facts): Finding[] {
  const { service, object } = subject;
  const { namespace, deletionTimestamp, finalizers } = service.metadata;
  if (deletionTimestamp !== undefined) {
    const seen = `it is being deleted since ${deletionTimestamp}, and is held by ${several(finalizers) || "nobody"}`;
    return [
      finding(
        "being-deleted",
        "error",
        object,
        seen,
        `kubectl get ${named(subject)} -o yaml; kubectl -n postern-system get lease,pods`,
      ),
    ];
  }
  if (!kube.terminatingNamespaces.includes(namespace)) return [];
  const mend = `kubectl get namespace ${namespace} -o yaml   # status.conditions say what is left in it`;
  return [finding("being-deleted", "error", object, `namespace ${namespace} is being deleted`, mend)];
}

/** Every node, by what its labels and taints say. */
export const excludedNodes = ({ kube }: Facts): readonly (readonly [string, string])[] =>
  kube.nodes.flatMap((node) => {
    const why = excludedReason(node, false);
    return why === undefined ? [] : [[node.metadata.name, why] as const];
  });
