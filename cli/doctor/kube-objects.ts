// What `kubectl get -o json` shows → facts. Parsed by schemas that know the fields to take over: environments, arguments, Secrets and
// whatever else an object holds is dropped here. What cannot be read is left out, since a doctor is for clusters that are ill. Pure.
import { z } from "zod";
import { receive, kinds as agentKinds } from "../../agent/source/kube/objects.ts";
import type { KubeEndpointSlice, KubeNode, KubeService } from "../../agent/source/resources.ts";
import type { Container, KubeEvent, KubeFacts, NodeState, Pod, Policy, Workload } from "./facts.ts";

const text = z.string();
const labels = z
  .record(text, text)
  .nullish()
  .transform((found) => found ?? {});
const list = <T extends z.ZodType>(of: T) =>
  z
    .array(of)
    .nullish()
    .transform((found) => found ?? []);
const time = text.nullish().transform((found) => (found === null || found === undefined ? 0 : Date.parse(found)));

const metadata = z.object({
  name: text,
  namespace: text.default("default"),
  creationTimestamp: time,
  deletionTimestamp: text.nullish(),
  labels,
});

const probe = z
  .object({
    httpGet: z.object({ path: text.optional(), port: z.union([z.int(), text]) }).optional(),
    tcpSocket: z.object({ port: z.union([z.int(), text]) }).optional(),
    exec: z.object({}).optional(),
    grpc: z.object({ port: z.int() }).optional(),
  })
  .transform(({ httpGet, tcpSocket, grpc }) => {
    if (httpGet !== undefined) return `HTTP GET ${httpGet.path ?? "/"} at port ${httpGet.port}`;
    if (tcpSocket !== undefined) return `a connection to port ${tcpSocket.port}`;
    // What a command is called with may be secret.
    return grpc === undefined ? "a command in the container" : `gRPC at port ${grpc.port}`;
  });
const container = z.object({
  name: text,
  image: text.default(""),
  ports: list(z.object({ name: text.default(""), containerPort: z.int(), protocol: text.default("TCP") })),
  readinessProbe: probe.optional(),
});
const podSpec = z.object({
  nodeName: text.default(""),
  hostNetwork: z.boolean().default(false),
  initContainers: list(container),
  containers: list(container),
});
const ended = z.object({ reason: text.default(""), exitCode: z.int().default(0) });
const containerStatus = z.object({
  name: text,
  ready: z.boolean().default(false),
  restartCount: z.int().default(0),
  state: z
    .object({
      waiting: z.object({ reason: text.default(""), message: text.default("") }).optional(),
      terminated: ended.optional(),
    })
    .default({}),
  lastState: z.object({ terminated: ended.optional() }).default({}),
});
const conditions = list(z.object({ type: text, status: text, reason: text.default(""), message: text.default("") }));
const podSchema = z.object({
  kind: z.literal("Pod"),
  metadata,
  spec: podSpec,
  status: z
    .object({
      phase: text.default(""),
      podIPs: list(z.object({ ip: text.default("") })),
      conditions,
      initContainerStatuses: list(containerStatus),
      containerStatuses: list(containerStatus),
    })
    .default({ phase: "", podIPs: [], conditions: [], initContainerStatuses: [], containerStatuses: [] }),
});
const template = z.object({ metadata: z.object({ labels }).default({ labels: {} }), spec: podSpec });
const workloadSchema = z.object({
  kind: z.enum(["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"]),
  metadata: metadata.extend({ ownerReferences: list(z.object({ kind: text })) }),
  spec: z.object({ replicas: z.int().default(1), template }),
  status: z
    .object({
      replicas: z.int().default(0),
      desiredNumberScheduled: z.int().default(0),
      currentNumberScheduled: z.int().default(0),
    })
    .default({ replicas: 0, desiredNumberScheduled: 0, currentNumberScheduled: 0 }),
});
const bareTemplateSchema = z.object({
  kind: z.literal("Job"),
  metadata,
  spec: z.object({ template }),
});
const selector = z
  .object({
    matchLabels: labels,
    matchExpressions: list(z.object({ key: text, operator: text, values: list(text) })),
  })
  .default({ matchLabels: {}, matchExpressions: [] });
const policySchema = z.object({
  kind: z.literal("NetworkPolicy"),
  metadata,
  spec: z.object({
    podSelector: selector,
    policyTypes: z.array(text).optional(),
    ingress: list(
      z.object({
        from: z.array(z.object({ ipBlock: z.object({ cidr: text, except: list(text) }).optional() })).optional(),
        ports: z
          .array(
            z.object({
              protocol: text.default("TCP"),
              port: z.union([z.int(), text]).optional(),
              endPort: z.int().optional(),
            }),
          )
          .optional(),
      }),
    ),
  }),
});
const eventSchema = z.object({
  kind: z.literal("Event"),
  metadata,
  involvedObject: z.object({ kind: text.default(""), name: text.default(""), namespace: text.default("") }),
  reason: text.default(""),
  message: text.default(""),
  lastTimestamp: time,
  eventTime: time,
  series: z.object({ lastObservedTime: time }).nullish(),
});
const namespaceSchema = z.object({ kind: z.literal("Namespace"), metadata });
const nodeStateSchema = z.object({
  kind: z.literal("Node"),
  metadata,
  spec: z.object({ unschedulable: z.boolean().default(false) }).default({ unschedulable: false }),
  status: z
    .object({ conditions, nodeInfo: z.object({ kubeletVersion: text.default("") }).default({ kubeletVersion: "" }) })
    .default({ conditions: [], nodeInfo: { kubeletVersion: "" } }),
});

export type Lists = Pick<
  KubeFacts,
  | "services"
  | "slices"
  | "nodes"
  | "nodeStates"
  | "pods"
  | "workloads"
  | "policies"
  | "events"
  | "terminatingNamespaces"
>;

/** Sorted into kinds. `items`: of one or several `kubectl get`; what is there twice counts once. */
export function listsOf(items: readonly unknown[]): Lists {
  const found = {
    services: [] as KubeService[],
    slices: [] as KubeEndpointSlice[],
    nodes: [] as KubeNode[],
    nodeStates: [] as NodeState[],
    pods: [] as Pod[],
    workloads: [] as Workload[],
    policies: [] as Policy[],
    events: [] as KubeEvent[],
    terminatingNamespaces: [] as string[],
  };
  const seen = new Set<string>();
  for (const item of items) {
    const identity = identitySchema.safeParse(item).data;
    if (identity === undefined) continue;
    const key = `${identity.kind} ${identity.metadata.namespace}/${identity.metadata.name}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const agents = agentKinds.find(({ name }) => name === identity.kind);
    if (agents !== undefined) {
      const received = receive(agents, item);
      if (received.ok && received.object.kind === "Service") found.services.push(received.object);
      if (received.ok && received.object.kind === "EndpointSlice") found.slices.push(received.object);
      if (received.ok && received.object.kind === "Node") found.nodes.push(received.object);
    }
    const node = nodeStateSchema.safeParse(item).data;
    if (node !== undefined) found.nodeStates.push(nodeState(node));
    const pod = podSchema.safeParse(item).data;
    if (pod !== undefined) found.pods.push(podOf(pod));
    const workload = workloadOf(item);
    if (workload !== undefined) found.workloads.push(workload);
    const policy = policySchema.safeParse(item).data;
    if (policy !== undefined && hasIngress(policy)) found.policies.push(policyOf(policy));
    const event = eventSchema.safeParse(item).data;
    if (event !== undefined) found.events.push(eventOf(event));
    const namespace = namespaceSchema.safeParse(item).data;
    if (typeof namespace?.metadata.deletionTimestamp === "string")
      found.terminatingNamespaces.push(namespace.metadata.name);
  }
  return found;
}

const identitySchema = z.object({
  kind: text,
  metadata: z.object({ name: text, namespace: text.default("") }),
});

function nodeState({ metadata: { name }, spec, status }: z.output<typeof nodeStateSchema>): NodeState {
  const ready = status.conditions.find(({ type }) => type === "Ready");
  return {
    name,
    ready: ready === undefined ? undefined : ready.status === "True",
    message: ready?.message ?? "",
    cordoned: spec.unschedulable,
    kubelet: status.nodeInfo.kubeletVersion,
  };
}

function podOf({ metadata, spec, status }: z.output<typeof podSchema>): Pod {
  const statuses = new Map(
    [...status.initContainerStatuses, ...status.containerStatuses].map((each) => [each.name, each]),
  );
  const scheduled = status.conditions.find(({ type }) => type === "PodScheduled");
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    labels: metadata.labels,
    createdAt: metadata.creationTimestamp,
    deleting: typeof metadata.deletionTimestamp === "string",
    node: spec.nodeName,
    phase: status.phase,
    addresses: status.podIPs.map(({ ip }) => ip).filter((ip) => ip !== ""),
    hostNetwork: spec.hostNetwork,
    ready: status.conditions.some((each) => each.type === "Ready" && each.status === "True"),
    ...(scheduled?.status === "False" ? { unschedulable: scheduled.message } : {}),
    containers: [...spec.initContainers, ...spec.containers].map((each) => containerOf(each, statuses.get(each.name))),
  };
}

function containerOf(
  { name, image, ports, readinessProbe }: z.output<typeof container>,
  status: z.output<typeof containerStatus> | undefined,
): Container {
  const { waiting } = status?.state ?? {};
  const last = status?.state.terminated ?? status?.lastState.terminated;
  return {
    name,
    image,
    ports,
    ready: status?.ready ?? false,
    restarts: status?.restartCount ?? 0,
    ...(readinessProbe === undefined ? {} : { readiness: readinessProbe }),
    ...(waiting === undefined ? {} : { waiting }),
    ...(last === undefined ? {} : { ended: last }),
  };
}

/** Also a Job, which makes pods once. A ReplicaSet that a Deployment has made is that Deployment's. */
function workloadOf(item: unknown): Workload | undefined {
  const job = bareTemplateSchema.safeParse(item).data;
  if (job !== undefined) return { ...templateOf(job), kind: job.kind, wanted: 1, made: 1 };
  const parsed = workloadSchema.safeParse(item).data;
  if (parsed === undefined || parsed.metadata.ownerReferences.length > 0) return undefined;
  const { kind, spec, status } = parsed;
  const isDaemon = kind === "DaemonSet";
  return {
    ...templateOf(parsed),
    kind,
    wanted: isDaemon ? status.desiredNumberScheduled : spec.replicas,
    made: isDaemon ? status.currentNumberScheduled : status.replicas,
  };
}

const templateOf = ({
  metadata,
  spec: { template },
}: Pick<z.output<typeof bareTemplateSchema>, "metadata" | "spec">): Omit<Workload, "kind" | "wanted" | "made"> => ({
  namespace: metadata.namespace,
  name: metadata.name,
  createdAt: metadata.creationTimestamp,
  labels: template.metadata.labels,
  containers: template.spec.containers.map(({ name, ports }) => ({ name, ports })),
});

/** Without policyTypes a policy is about what comes in. */
const hasIngress = ({ spec }: z.output<typeof policySchema>): boolean =>
  spec.policyTypes === undefined || spec.policyTypes.includes("Ingress");

const policyOf = ({ metadata: { namespace, name }, spec }: z.output<typeof policySchema>): Policy => ({
  namespace,
  name,
  podSelector: spec.podSelector,
  ingress: spec.ingress.map(({ from, ports }) => ({
    ...(from === undefined || from.length === 0
      ? {}
      : {
          from: from.map(({ ipBlock }) =>
            ipBlock === undefined ? { except: [] } : { cidr: ipBlock.cidr, except: ipBlock.except },
          ),
        }),
    ...(ports === undefined || ports.length === 0
      ? {}
      : {
          ports: ports.map(({ protocol, port, endPort }) => ({
            protocol,
            ...(port === undefined ? {} : { port }),
            ...(endPort === undefined ? {} : { endPort }),
          })),
        }),
  })),
});

const eventOf = (event: z.output<typeof eventSchema>): KubeEvent => ({
  namespace: event.involvedObject.namespace || event.metadata.namespace,
  kind: event.involvedObject.kind,
  name: event.involvedObject.name,
  reason: event.reason,
  message: event.message,
  at: Math.max(
    event.lastTimestamp,
    event.eventTime,
    event.series?.lastObservedTime ?? 0,
    event.metadata.creationTimestamp,
  ),
});
