// A cluster of three nodes with one sound Service, as `kubectl get -o json` and the edge show it, and how tests break it. Objects go
// through the same reading as real ones.
import type { ProbeAnswer, ProbedConnection } from "../../../src/shared/control/probe.ts";
import type { NodeReport } from "../../../src/shared/model/node-report.ts";
import { condition, type Condition } from "../../../src/shared/model/conditions.ts";
import { examine, type Report, type Selection } from "../../../cli/doctor/examine.ts";
import { type Ask, type Facts, nothingRead } from "../../../cli/doctor/facts.ts";
import { listsOf } from "../../../cli/doctor/kube-objects.ts";

export const NOW = Date.parse("2026-11-27T12:00:00Z");
const OLD = "2026-11-01T00:00:00Z";
export const nodeNames = ["n1", "n2", "n3"] as const;

export type Json = Record<string, unknown>;

let uid = 0;
const meta = (name: string, more: Json = {}): Json => ({
  name,
  namespace: "default",
  uid: `uid-${++uid}`,
  creationTimestamp: OLD,
  ...more,
});

export const service = (spec: Json = {}, metadata: Json = {}, status: Json = {}): Json => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: meta("web", metadata),
  spec: {
    type: "LoadBalancer",
    loadBalancerClass: "postern.dev/edge",
    clusterIP: "10.96.0.10",
    clusterIPs: ["10.96.0.10"],
    ipFamilies: ["IPv4"],
    selector: { app: "web" },
    ports: [{ port: 80, targetPort: 8080, protocol: "TCP", nodePort: 30080 }],
    ...spec,
  },
  status,
});

export const container = (more: Json = {}): Json => ({
  name: "web",
  image: "registry.test/web:1",
  ports: [{ name: "http", containerPort: 8080, protocol: "TCP" }],
  readinessProbe: { httpGet: { path: "/healthz", port: 8080 } },
  ...more,
});

interface PodOptions {
  readonly name?: string;
  readonly node?: string;
  readonly ready?: boolean;
  readonly labels?: Json;
  readonly container?: Json;
  readonly status?: Json;
  readonly containerStatus?: Json;
  readonly metadata?: Json;
}

export function pod(number: number, options: PodOptions = {}): Json {
  const { name = `web-${number}`, node = `n${number}`, ready = true, labels = { app: "web" } } = options;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: meta(name, { labels: { ...labels, "pod-template-hash": "abc" }, ...options.metadata }),
    spec: { ...(node === "" ? {} : { nodeName: node }), containers: [container(options.container)] },
    status: {
      phase: "Running",
      podIPs: [{ ip: `10.244.${number}.5` }],
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
      containerStatuses: [{ name: "web", ready, restartCount: 0, state: { running: {} }, ...options.containerStatus }],
      ...options.status,
    },
  };
}

export const slice = (ready: readonly boolean[] = [true, true, true], port: Json = { port: 8080 }): Json => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: meta("web-abc", { labels: { "kubernetes.io/service-name": "web" } }),
  addressType: "IPv4",
  endpoints: ready.map((each, at) => ({
    addresses: [`10.244.${at + 1}.5`],
    conditions: { ready: each, serving: each, terminating: false },
    nodeName: `n${at + 1}`,
  })),
  ports: [{ name: "", protocol: "TCP", ...port }],
});

export const deployment = (spec: Json = {}, status: Json = { replicas: 3 }, labels: Json = { app: "web" }): Json => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: meta("web"),
  spec: { replicas: 3, template: { metadata: { labels }, spec: { containers: [container()] } }, ...spec },
  status,
});

export const node = (
  name: string,
  more: { readonly labels?: Json; readonly spec?: Json; readonly ready?: boolean; readonly kubelet?: string } = {},
): Json => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { ...meta(name, { labels: { "kubernetes.io/os": "linux", ...more.labels } }), namespace: undefined },
  spec: { podCIDRs: [`10.244.${name.slice(1)}.0/24`], ...more.spec },
  status: {
    addresses: [{ type: "InternalIP", address: `10.90.0.1${name.slice(1)}` }],
    conditions: [{ type: "Ready", status: (more.ready ?? true) ? "True" : "False", message: "kubelet says so" }],
    nodeInfo: { kubeletVersion: more.kubelet ?? "v1.34.2" },
  },
});

export const event = (kind: string, name: string, reason: string, message: string): Json => ({
  apiVersion: "v1",
  kind: "Event",
  metadata: meta(`${name}.${++uid}`),
  involvedObject: { kind, name, namespace: "default" },
  reason,
  message,
  lastTimestamp: "2026-11-27T11:59:00Z",
});

export const agentPod = (name: string, ready = true): Json => ({
  ...pod(1, {
    name: `postern-agent-${name}`,
    node: name,
    ready,
    labels: { "app.kubernetes.io/name": "postern-agent" },
  }),
});

/** `image`: of its container kube-proxy. */
export const kubeProxyPod = (number: number, image: string, more: Pick<PodOptions, "metadata" | "ready"> = {}): Json =>
  pod(number, {
    ...more,
    name: `kube-proxy-${number}`,
    labels: { "k8s-app": "kube-proxy" },
    container: { name: "kube-proxy", image },
  });

export const soundObjects = (): Json[] => [
  service(),
  slice(),
  deployment(),
  ...nodeNames.map((name) => node(name)),
  ...[1, 2, 3].map((number) => pod(number)),
];

const programmed = condition("Programmed", "Programmed", "Served at web.edge.test on ports 80.");

/** What a node says when the Service is dialled from it. `dials`: by endpoint's number; absent: connected. */
export function report(
  name: string,
  more: Partial<NodeReport> = {},
  dials: Readonly<Record<number, string>> = {},
): NodeReport {
  return {
    software: "postern-agent 0.1.0",
    node: name,
    receivedAt: NOW,
    tookMs: 1,
    uptimeMs: 1_000_000,
    proxy: "none",
    source: { kind: "kube", state: "in-step", since: 0, lastEvent: 0, problems: [], problemsLeftOut: 0 },
    planApplied: true,
    kernel: { state: "off", lastSync: null, checkedAt: null, faults: [], faultsLeftOut: 0 },
    conntrack: { count: 100, max: 1_000 },
    packetFilters: null,
    brokenEndpoints: [],
    brokenEndpointsLeftOut: 0,
    service: {
      service: "default/web",
      state: "planned",
      portsLeftOut: 0,
      ports: [
        {
          port: 80,
          endpointsLeftOut: 0,
          endpoints: [1, 2, 3].map((number) => ({
            address: `10.244.${number}.5`,
            port: 8080,
            local: name === `n${number}`,
            terminating: false,
            dial: dial(dials[number]),
          })),
          nodePorts: [{ address: `10.90.0.1${name.slice(1)}`, nodePort: 30080, dial: dial(dials[0]) }],
        },
      ],
    },
    ...more,
  };
}

const dial = (result = "connected") => ({ result: result as "connected", ms: 1 });

export const connection = (name: string, more: Partial<ProbedConnection> = {}): ProbedConnection => ({
  node: name,
  shard: 0,
  instance: `uid-${name}`,
  software: "postern-agent 0.1.0",
  token: "1f2e3d4c",
  since: 0,
  heardAgoMs: 10,
  draining: false,
  suspect: false,
  inFlight: 0,
  probe: { ok: true, roundTripMs: 4, clockSkewMs: 1, report: report(name) },
  ...more,
});

/** Those connections whose node's report differs. */
export const answering = (
  name: string,
  more: Partial<NodeReport>,
  dials?: Readonly<Record<number, string>>,
  clockSkewMs = 1,
): ProbedConnection =>
  connection(name, { probe: { ok: true, roundTripMs: 4, clockSkewMs, report: report(name, more, dials) } });

export function probe(more: Partial<ProbeAnswer> = {}): ProbeAnswer {
  return {
    edge: {
      software: "postern-edge 0.1.0",
      now: NOW,
      adminHost: "admin.test",
      domain: "edge.test",
      listenerPorts: "any",
      tls: false,
      directory: { current: 1, here: 1, checkedAgoMs: 10 },
      table: { current: 3, here: 3, checkedAgoMs: 10 },
      yourAddress: "203.0.113.7",
    },
    cluster: {
      name: "home",
      createdAt: 0,
      shards: 1,
      snapshot: { epoch: 1, sequence: 2, services: 1, nodes: 3, acceptedAgoMs: 5_000 },
      lastAccepted: { at: NOW - 5_000, epoch: 1, sequence: 2, token: "1f2e3d4c", node: "n1" },
      lastRefused: null,
    },
    services: [
      {
        service: "default/web",
        kind: "LoadBalancer",
        transport: "tunnel",
        externalTrafficPolicy: "Cluster",
        hostnames: [
          {
            hostname: "web.edge.test",
            served: true,
            owner: "home",
            members: [{ cluster: "home", priority: 0, weight: 1 }],
          },
        ],
        ports: [],
        sourceRanges: [],
        youAreAllowed: true,
        endpoints: { known: 3, ready: 3, serving: 3, terminating: 0 },
        conditions: [],
      },
    ],
    servicesLeftOut: 0,
    excludedNodes: [],
    excludedNodesLeftOut: 0,
    unconnectedNodes: [],
    unconnectedNodesLeftOut: 0,
    connections: nodeNames.map((name) => connection(name)),
    connectionsLeftOut: 0,
    silentShards: [],
    ...more,
  };
}

export const ask = (more: Partial<Ask> = {}): Ask => ({
  service: "default/web",
  hostname: "web.edge.test",
  port: 80,
  tls: false,
  addresses: ["203.0.113.1"],
  answer: { status: 200, text: "hello", ms: 5 },
  isPostern: true,
  ...more,
});

export interface Change {
  readonly objects?: readonly Json[];
  readonly agents?: readonly Json[];
  readonly kubeProxies?: readonly Json[];
  readonly conditions?: Record<string, readonly Condition[]>;
  readonly kube?: Partial<Facts["kube"]>;
  readonly edge?: Partial<NonNullable<Facts["edge"]>>;
  readonly probe?: Partial<ProbeAnswer>;
  readonly asks?: readonly Ask[];
  readonly facts?: Partial<Facts>;
}

/** The sound world with these parts of it replaced. */
export function factsOf({
  objects,
  agents,
  kubeProxies = [],
  kube,
  edge,
  probe: probed,
  asks,
  conditions,
  facts,
}: Change = {}): Facts {
  return {
    now: NOW,
    only: "default/web",
    kube: {
      ...nothingRead,
      ...listsOf(objects ?? soundObjects()),
      agent: { pods: listsOf(agents ?? nodeNames.map((name) => agentPod(name))).pods, installed: true },
      serverVersion: "v1.34.2",
      kubeProxyPods: listsOf(kubeProxies).pods,
      ...kube,
    },
    edge: {
      url: "https://postern.test",
      cluster: "home",
      command: "postern 0.1.0",
      software: "postern-edge 0.1.0",
      table: {
        cluster: "home",
        generation: 3,
        listeners: [{ hostname: "web.edge.test", port: 80, tls: false, route: 0 }],
        routes: [{ service: "default/web", port: 80 }],
      },
      conditions: conditions ?? { "default/web": [programmed] },
      nodes: nodeNames.map((name) => ({
        node: name,
        known: true,
        tunnel: [
          {
            shard: 0,
            node: name,
            connections: [
              { instance: `uid-${name}`, since: 0, draining: false, inFlight: 0, version: "postern-agent 0.1.0" },
            ],
            available: true,
            reason: "",
            endpoints: [],
          },
        ],
      })),
      directory: [],
      refusals: [],
      probe: probe(probed),
      ...edge,
    },
    asks: asks ?? [ask()],
    ...facts,
  };
}

export const diagnose = (change: Change = {}, selection?: Selection): Report => examine(factsOf(change), selection);

/** "error selector-matches-nothing", without what is only worth knowing. */
export const wrongs = ({ findings }: Report): string[] =>
  findings.filter(({ severity }) => severity !== "info").map(({ severity, id }) => `${severity} ${id}`);

/** With `others` in place of what the sound world has of their kinds and names. */
export function soundBut(...others: readonly Json[]): Json[] {
  const key = (object: Json): string => `${String(object["kind"])} ${String((object["metadata"] as Json)["name"])}`;
  const replaced = new Set(others.map(key));
  return [...soundObjects().filter((object) => !replaced.has(key(object))), ...others];
}
