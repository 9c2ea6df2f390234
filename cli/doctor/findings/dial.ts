// What the nodes found when they dialled the Service's endpoints and their own NodePorts: who is refused by whom, and why. Pure.
import type { Dial } from "../../../src/shared/model/node-report.ts";
import { hostPort } from "../../../src/shared/net/host-port.ts";
import { compareText } from "../../../src/shared/sorted.ts";
import type { Facts, Pod, Policy } from "../facts.ts";
import { type Finding, finding, several } from "../finding.ts";
import { named, readyEndpoints, type Subject } from "../subject.ts";
import { reports } from "./nodes.ts";
import { policiesAgainst } from "./policy.ts";
import { containerPorts, setTarget } from "./ports.ts";

/** One endpoint as all nodes that dialled it found it. */
interface Dialled {
  /** Of the Service. */
  readonly servicePort: number;
  readonly address: string;
  readonly port: number;
  readonly byNode: Map<string, { readonly result: Dial["result"]; readonly local: boolean }>;
}

export function dialFindings(subject: Subject, facts: Facts): Finding[] {
  if (subject.stance !== "ours") return [];
  const dialled = dialledEndpoints(subject, facts);
  return [
    ...refused(subject, dialled),
    ...lost(subject, dialled, facts),
    ...bystanders(subject, dialled, facts),
    ...nodePorts(subject, facts),
  ];
}

function dialledEndpoints({ key }: Subject, { edge }: Facts): readonly Dialled[] {
  const found = new Map<string, Dialled>();
  for (const { node, report } of reports(edge)) {
    if (report.service?.service !== key) continue;
    for (const { port: servicePort, endpoints } of report.service.ports)
      for (const { address, port, local, dial, terminating } of endpoints) {
        // One on its way out may stop at any moment.
        if (terminating) continue;
        const id = `${servicePort} ${hostPort(address, port)}`;
        const known = found.get(id) ?? { servicePort, address, port, byNode: new Map() };
        found.set(id, known);
        known.byNode.set(node, { result: dial.result, local });
      }
  }
  return [...found.values()];
}

const nodesWith = ({ byNode }: Dialled, which: (result: Dial["result"]) => boolean): string[] =>
  [...byNode].filter(([, { result }]) => which(result)).map(([node]) => node);
const isLost = (result: Dial["result"]): boolean => result !== "connected" && result !== "refused";
const isBad = (result: Dial["result"]): boolean => result !== "connected";
const whereOf = ({ address, port }: Dialled): string => hostPort(address, port);

/** Refused by every node that asked: the pod's own kernel says that nobody listens. */
function refused(subject: Subject, dialled: readonly Dialled[]): Finding[] {
  const { object, pods } = subject;
  const { namespace } = subject.service.metadata;
  const all = dialled.filter((each) => nodesWith(each, (result) => result === "refused").length === each.byNode.size);
  const listed = containerPorts(subject);
  return [...byPort(all)].map(([servicePort, those]) => {
    const [{ port }] = those as [Dialled];
    const isListed = listed.some(({ containerPort }) => containerPort === port);
    const others = [...new Set(listed.map(({ containerPort }) => containerPort))].filter((each) => each !== port);
    const likely = isListed
      ? "the container lists that port, so most likely its process listens on 127.0.0.1 only: let it listen on 0.0.0.0"
      : others.length > 0
        ? `no container lists that port, but ${others.join(", ")}: most likely targetPort is wrong`
        : "most likely targetPort is wrong, or the process listens on 127.0.0.1 only";
    const [pod] = pods;
    const look =
      pod === undefined
        ? `kubectl edit ${named(subject)}`
        : `kubectl -n ${namespace} exec ${pod.name} -- cat /proc/net/tcp   # 0100007F is 127.0.0.1`;
    const mend = !isListed && others[0] !== undefined ? setTarget(subject, servicePort, others[0]) : look;
    const seen = `port ${servicePort}: ${several(those.map(whereOf))} refused every node; ${likely}`;
    return finding("target-port-refused", "error", object, seen, mend);
  });
}

function byPort(dialled: readonly Dialled[]): ReadonlyMap<number, readonly Dialled[]> {
  const found = new Map<number, Dialled[]>();
  for (const each of dialled) found.set(each.servicePort, [...(found.get(each.servicePort) ?? []), each]);
  return found;
}

/** Nothing came back. A policy that explains it is named; else one node is, where it alone fails; else the endpoint. */
function lost(subject: Subject, dialled: readonly Dialled[], facts: Facts): Finding[] {
  const { object } = subject;
  const bad = dialled.filter(
    (each) => nodesWith(each, isBad).length > 0 && !nodesWith(each, (result) => result === "refused").length,
  );
  const partly = dialled.filter(
    (each) => nodesWith(each, isBad).length > 0 && nodesWith(each, (result) => result === "connected").length > 0,
  );
  const suspects = [...new Set([...bad, ...partly])];
  if (suspects.length === 0) return [];
  const barred = new Map<string, { readonly policies: readonly Policy[]; readonly endpoints: string[] }>();
  const rest: Dialled[] = [];
  for (const each of suspects) {
    const policies = against(subject, each, facts);
    // The node that runs a pod is let in by most network plugins, whatever the policies say.
    if (policies.length === 0 || !nodesWith(each, isLost).length) rest.push(each);
    else {
      const names = policies.map(({ name }) => name).sort();
      const known = barred.get(names.join()) ?? { policies, endpoints: [] };
      known.endpoints.push(whereOf(each));
      barred.set(names.join(), known);
    }
  }
  const found = [...barred.values()].map(({ policies, endpoints }) =>
    policyFinding("error", object, policies, `${several([...new Set(endpoints)])} did not answer`, facts),
  );
  return [...found, ...unexplained(object, rest, dialled)];
}

function unexplained(object: string, rest: readonly Dialled[], dialled: readonly Dialled[]): Finding[] {
  const reaches = (node: string): boolean => dialled.some(({ byNode }) => byNode.get(node)?.result === "connected");
  const alone = new Map<string, Set<string>>();
  const nobody: string[] = [];
  for (const each of rest) {
    const failing = nodesWith(each, isBad);
    const isReached = failing.length < each.byNode.size;
    // With externalTrafficPolicy: Local only its own node dials a pod: then nodes are compared by what else they reach.
    const [only, second] = failing;
    const isOneNodes =
      isReached ||
      (each.byNode.size === 1 && second === undefined && only !== undefined && !reaches(only) && othersReach(only));
    if (isOneNodes) for (const node of failing) alone.set(node, (alone.get(node) ?? new Set()).add(whereOf(each)));
    else nobody.push(whereOf(each));
  }
  function othersReach(node: string): boolean {
    return dialled.some(({ byNode }) =>
      [...byNode].some(([other, { result }]) => other !== node && result === "connected"),
    );
  }
  const found = [...alone]
    .sort(([a], [b]) => compareText(a, b))
    .map(([node, endpoints]) =>
      finding(
        "node-cannot-dial",
        "error",
        `Node ${node}`,
        `${object}: no answer from ${several([...endpoints])}, which other nodes reach; a firewall of ${node} is likely`,
        `nft list ruleset; iptables-save; ip route   # on ${node}: what concerns the pods' network`,
      ),
    );
  if (nobody.length > 0) {
    const seen = `no node has an answer from ${several([...new Set(nobody)])}`;
    found.push(
      finding(
        "endpoint-unreachable",
        "error",
        object,
        seen,
        `kubectl get pods -A -o wide --field-selector status.podIP=${(nobody[0] ?? "").replace(/:\d+$/, "")}`,
      ),
    );
  }
  return found;
}

/** Addresses from which nodes dial: their own, and those of their ends of the pods' network. */
const nodeAddresses = ({ kube }: Facts): readonly string[] =>
  kube.nodes.flatMap(({ status, spec }) => [
    ...status.addresses.filter(({ type }) => type === "InternalIP").map(({ address }) => address),
    ...spec.podCIDRs.map((cidr) => cidr.replace(/\/\d+$/, "")),
  ]);

const podOf = ({ pods }: Subject, address: string): Pod | undefined =>
  pods.find(({ addresses }) => addresses.includes(address));

function against(
  subject: Subject,
  { address, port }: Pick<Dialled, "address" | "port">,
  facts: Facts,
): readonly Policy[] {
  const pod = podOf(subject, address);
  return pod === undefined ? [] : policiesAgainst(pod, port, nodeAddresses(facts), facts.kube.policies);
}

function policyFinding(
  severity: "error" | "warning" | "info",
  object: string,
  policies: readonly Policy[],
  seen: string,
  facts: Facts,
): Finding {
  const names = policies.map(({ name }) => name).sort();
  const [{ namespace }] = policies as [Policy];
  const blocks = [...new Set(nodeAddresses(facts))]
    .slice(0, 3)
    .map((address) => `${address}/${address.includes(":") ? 128 : 32}`);
  return finding(
    "network-policy",
    severity,
    object,
    `NetworkPolicy ${several(names)} admits no node; ${seen}`,
    `kubectl -n ${namespace} edit networkpolicy ${names[0]}   # add to ingress: from: [{ipBlock: {cidr: ${blocks[0] ?? "NODE/32"}}}, …]`,
  );
}

/** Policies that would keep nodes out where no dial failed for it: nobody enforces them, or nobody dialled. */
function bystanders(subject: Subject, dialled: readonly Dialled[], facts: Facts): Finding[] {
  const policies = new Map<string, Policy>();
  let asked = 0;
  let answered = 0;
  for (const { address, ports } of readyEndpoints(subject))
    for (const port of ports.values()) {
      const own = against(subject, { address, port }, facts);
      if (own.length === 0) continue;
      const dials = dialled.find((each) => each.address === address && each.port === port);
      if (dials !== undefined && nodesWith(dials, isLost).length > 0) return [];
      if (dials !== undefined) asked++;
      if (dials !== undefined && nodesWith(dials, (result) => result === "connected").length === dials.byNode.size)
        answered++;
      for (const policy of own) policies.set(policy.name, policy);
    }
  if (policies.size === 0) return [];
  const isOpen = asked > 0 && asked === answered;
  const seen = isOpen
    ? "every node reaches the pods all the same: nothing here enforces policies"
    : "no node has dialled the pods";
  return [policyFinding(isOpen ? "info" : "warning", subject.object, [...policies.values()], seen, facts)];
}

/** Loopback need not be served, and with policy Local nodes without pods need not answer. */
function nodePorts(subject: Subject, { edge }: Facts): Finding[] {
  const { service, endpoints } = subject;
  if (readyEndpoints(subject).length === 0) return [];
  const having = new Set(endpoints.flatMap(({ node }) => node ?? []));
  const isLocal = service.spec.externalTrafficPolicy === "Local";
  return reports(edge).flatMap(({ node, report }) => {
    if (report.service?.service !== subject.key || (isLocal && !having.has(node))) return [];
    const silent = report.service.ports.flatMap(({ endpoints: own, nodePorts: dials }) =>
      // Where the pods themselves refuse, or none has that port, the NodePort does as well.
      own.every(({ dial }) => dial.result !== "connected")
        ? []
        : dials.filter(({ address, dial }) => isBad(dial.result) && !/^127\.|^::1$/.test(address)),
    );
    if (silent.length === 0) return [];
    const seen = silent
      .map(({ address, nodePort, dial }) => `${hostPort(address, nodePort)}: ${dial.result}`)
      .join(", ");
    const maker =
      report.proxy === "none"
        ? "kube-proxy, or what stands in its place, does not follow"
        : `the agent (${report.proxy}) does not forward it`;
    const mend =
      report.proxy === "none"
        ? `kubectl -n kube-system get pods -l k8s-app=kube-proxy -o wide; curl -s http://127.0.0.1:10256/healthz   # on ${node}`
        : `kubectl -n postern-system logs -l app.kubernetes.io/name=postern-agent --tail 50   # the pod of node ${node}`;
    return [finding("nodeport-silent", "warning", `Node ${node}`, `${subject.object}: ${seen}; ${maker}`, mend)];
  });
}
