// Gathers the facts: kubectl, the edge's API, and asking from this machine, side by side and each within its time. Decides nothing.
// Whatever cannot be had is a fact as well: it is noted, and the rest goes on.
import { z } from "zod";
import type { KubeService } from "../../agent/source/resources.ts";
import type { Answer, ControlClient } from "../../src/shared/control/client.ts";
import { compareText } from "../../src/shared/sorted.ts";
import { inParallel } from "../../src/shared/in-parallel.ts";
import type { Kubectl, Listed } from "../kubectl.ts";
import {
  type Ask,
  type EdgeFacts,
  type Facts,
  type KubeFacts,
  type ListenerAsk,
  nothingRead,
  type Pod,
  type QuotaFacts,
  type Refusal,
  type Traced,
} from "./facts.ts";
import { type Lists, listsOf } from "./kube-objects.ts";
import { listenersOf } from "./listeners.ts";
import { selects } from "./nearest.ts";
import { stanceOf } from "./subject.ts";

export interface Sources {
  readonly kubectl: Kubectl;
  /** Absent: no edge is known. */
  readonly edge?: {
    readonly client: ControlClient;
    readonly url: string;
    readonly cluster: string;
    /** Of this command. */
    readonly command: string;
    /** Asks the edge's provider; undefined: there is nobody to ask. Does not reject. */
    readonly quota: () => Promise<QuotaFacts | undefined>;
  };
  readonly outside: (where: ListenerAsk) => Promise<Ask>;
  readonly traced: (where: ListenerAsk, control: ControlClient, cluster: string) => Promise<Traced>;
  readonly pause: (ms: number) => Promise<void>;
  /** Epoch ms. */
  readonly wallClock: () => number;
}

const SYSTEM = "postern-system";
const namespaced = [
  ...["services", "endpointslices", "pods", "networkpolicies", "events"],
  ...["deployments", "statefulsets", "daemonsets", "replicasets"],
];
/** Host names that are asked from here: one Service has few, and of all Services a sample tells whether the edge answers. */
const ASKS_MAX = 12;
const ASKS_AT_ONCE = 6;
const BUSY_MS = 1_200;

/** `only`: "namespace/name"; absent: all. `isOutside`: Kubernetes is not asked, and one request is traced. */
export async function collect(sources: Sources, only: string | undefined, isOutside = false): Promise<Facts> {
  const [kube, { edge, asks, trace }] = await Promise.all([
    isOutside ? nothingRead : kubeFacts(sources.kubectl, only),
    edgeSide(sources, only, isOutside),
  ]);
  return {
    now: sources.wallClock(),
    ...(only === undefined ? {} : { only }),
    kube,
    ...(edge === undefined ? {} : { edge }),
    asks,
    ...(isOutside ? { isOutside } : {}),
    ...(trace === undefined ? {} : { trace }),
  };
}

/** Four calls: the Service's namespace (or all), the agents' own, where kube-proxy would be, and the API server's version. */
export async function kubeFacts(kubectl: Kubectl, only: string | undefined): Promise<KubeFacts> {
  const where = only === undefined ? ["-A"] : ["-n", only.split("/")[0] ?? ""];
  const [own, system, kubeSystem, serverVersion] = await Promise.all([
    kubectl.list([...namespaced, "nodes", "namespaces"], where),
    kubectl.list(["pods", "daemonsets", "configmaps"], ["-n", SYSTEM]),
    kubectl.list(["pods"], ["-n", "kube-system"]),
    kubectl.serverVersion(),
  ]);
  const lists: Lists = listsOf(own.items);
  const agents = listsOf(system.items);
  const isAgent = ({
    name,
    labels,
  }: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
  }): boolean => name === "postern-agent" || labels["app.kubernetes.io/name"] === "postern-agent";
  const defaultClass = defaultClassOf(system.items);
  const [services, elsewhere] = await Promise.all([
    withWriters(kubectl, lists.services, where),
    podsElsewhere(kubectl, lists, only),
  ]);
  return {
    ...nothingRead,
    ...lists,
    services,
    elsewhere,
    agent: {
      pods: agents.pods.filter((pod) => isAgent(pod) && !pod.deleting),
      installed:
        agents.workloads.some((each) => each.kind === "DaemonSet" && isAgent(each)) || system.refused.length > 0,
      ...(defaultClass === undefined ? {} : { defaultClass }),
    },
    ...(serverVersion === undefined ? {} : { serverVersion }),
    kubeProxyPods: listsOf(kubeSystem.items).pods.filter(isKubeProxy),
    unread: unreadOf([own, system]),
  };
}

/** kubectl shows who wrote an object only where it is told to. That matters for Services without a class that somebody else has taken. */
async function withWriters(
  kubectl: Kubectl,
  services: Lists["services"],
  where: readonly string[],
): Promise<Lists["services"]> {
  const isTaken = (service: KubeService): boolean =>
    service.spec.loadBalancerClass === undefined && stanceOf(service, false) === "foreign";
  if (!services.some(isTaken)) return services;
  const { items } = await kubectl.list(["services"], [...where, "--show-managed-fields"]);
  return items.length === 0 ? services : listsOf(items).services;
}

/** kubeadm's are a DaemonSet's, and have the first label; others are static pods with the second. */
const isKubeProxy = ({ labels }: Pod): boolean =>
  labels["k8s-app"] === "kube-proxy" || labels["component"] === "kube-proxy";

/** The one setting of the agents that decides whose a Service without a class is. */
function defaultClassOf(items: readonly unknown[]): boolean | undefined {
  for (const item of items) {
    const settings = settingsSchema.safeParse(item).data;
    if (settings !== undefined) return settings.data.POSTERN_DEFAULT_CLASS === "true";
  }
  return undefined;
}

const settingsSchema = z.object({
  kind: z.literal("ConfigMap"),
  metadata: z.object({ name: z.literal("postern-agent") }),
  data: z.object({ POSTERN_DEFAULT_CLASS: z.string().optional() }).default({}),
});

const unreadOf = (lists: readonly Listed[]): KubeFacts["unread"] => {
  const all = lists.flatMap(({ refused }) => refused);
  return [...new Map(all.map((each) => [each.what, each])).values()];
};

/** Where the pods of a selector are that matches none of its own namespace. */
async function podsElsewhere(
  kubectl: Kubectl,
  kube: Pick<Lists, "services" | "pods" | "workloads">,
  only: string | undefined,
): Promise<KubeFacts["elsewhere"]> {
  const [service] =
    only === undefined ? [] : kube.services.filter(({ metadata }) => `${metadata.namespace}/${metadata.name}` === only);
  const selector = service?.spec.selector ?? {};
  if (service === undefined || only === undefined || Object.keys(selector).length === 0) return {};
  if ([...kube.pods, ...kube.workloads].some(({ labels }) => selects(selector, labels))) return {};
  const text = Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
  const { items } = await kubectl.list(["pods"], ["-A", "-l", text]);
  const others = listsOf(items).pods.filter(({ labels }) => selects(selector, labels));
  const found = others
    .map(({ namespace }) => namespace)
    .filter((namespace) => namespace !== service.metadata.namespace);
  return { [only]: [...new Set(found)].sort() };
}

interface EdgeSide {
  readonly edge: EdgeFacts | undefined;
  readonly asks: readonly Ask[];
  readonly trace?: Traced | undefined;
}

/** An agent answers few questions in a second: who comes beside another asks once more. */
async function probeOf(
  client: ControlClient,
  cluster: string,
  only: string | undefined,
  pause: Sources["pause"],
): ReturnType<ControlClient["probe"]> {
  const input = only === undefined ? {} : { service: only };
  const first = await client.probe(cluster, input);
  const isBusy = first.ok && first.value.connections.some(({ probe }) => !probe.ok && probe.stage === "busy");
  if (!isBusy) return first;
  await pause(BUSY_MS);
  const second = await client.probe(cluster, input);
  return second.ok ? second : first;
}

/** The listeners are asked as soon as the table is there; the probe takes its time meanwhile. */
async function edgeSide(
  { edge, outside, traced, pause }: Sources,
  only: string | undefined,
  isTraced: boolean,
): Promise<EdgeSide> {
  if (edge === undefined) return { edge: undefined, asks: [] };
  const { client, url, cluster, command } = edge;
  const tabled = client.table(cluster);
  const asked = tabled.then(async (table) => {
    const where = table.ok && table.value !== undefined ? listenersOf(table.value, only).slice(0, ASKS_MAX) : [];
    const [first] = isTraced ? where : [];
    return await Promise.all([
      askAll(outside, where),
      directoryOf(client, where),
      first === undefined ? undefined : traced(first, client, cluster),
    ]);
  });
  const [version, table, conditions, nodes, probe, quota, [asks, directory, trace]] = await Promise.all([
    client.version(),
    tabled,
    client.conditions(cluster),
    client.nodes(cluster),
    probeOf(client, cluster, only, pause),
    edge.quota(),
    asked,
  ]);
  const facts: EdgeFacts = {
    url,
    cluster,
    command,
    directory,
    refusals: [version, table, conditions, nodes, probe].flatMap(refusalOf),
    ...(version.ok ? { software: version.value.software } : {}),
    ...(table.ok && table.value !== undefined ? { table: table.value } : {}),
    ...(conditions.ok ? { conditions: conditions.value.services } : {}),
    ...(nodes.ok ? { nodes: nodes.value.nodes } : {}),
    ...(probe.ok ? { probe: probe.value } : {}),
    ...(quota === undefined ? {} : { quota }),
  };
  return { edge: facts, asks, trace };
}

const refusalOf = (answer: Answer<unknown>): Refusal[] =>
  answer.ok
    ? []
    : [{ asked: answer.asked, why: answer.why, ...(answer.status === undefined ? {} : { status: answer.status }) }];

async function askAll(outside: Sources["outside"], listeners: readonly ListenerAsk[]): Promise<readonly Ask[]> {
  const asks: Ask[] = [];
  await inParallel(ASKS_AT_ONCE, listeners, async (where) => {
    asks.push(await outside(where));
  });
  return asks.sort((a, b) => compareText(a.hostname, b.hostname) || a.port - b.port);
}

/** An agent's token may not ask for every name: what it may not have is left out. */
async function directoryOf(client: ControlClient, listeners: readonly ListenerAsk[]): Promise<EdgeFacts["directory"]> {
  const names = [...new Set(listeners.map(({ hostname }) => hostname))];
  const answers = await Promise.all(names.map((name) => client.hostname(name)));
  return answers.flatMap((answer) => (answer.ok ? [answer.value] : []));
}
