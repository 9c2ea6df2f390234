// The cluster that both programs are told of: so many Services with ten endpoints each, and the nodes that their pods are on.
// Pure: the same numbers give the same objects. They carry what a real API server would have filled in, but no
// managedFields, which both programs throw away.
import { clusterIp, endpointAddress, node, POD_PORT, SERVICE_PORT, serviceRange } from "../places.ts";

export const ENDPOINTS_EACH = 10;
/** Kubernetes' own limit is 110; so this node has the usual share of a large cluster's endpoints. */
const PODS_A_NODE = 100;
const NODES_MAX = 5_000;
export const NAMESPACE = "bench";

export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly creationTimestamp: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Given by the store. */
  readonly resourceVersion?: string;
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Metadata;
  readonly [field: string]: unknown;
}

export function nodeCount(services: number): number {
  return Math.min(NODES_MAX, Math.max(1, Math.ceil((services * ENDPOINTS_EACH) / PODS_A_NODE)));
}

/** Everything that is there before a program starts. */
export function* clusterOf(services: number): Generator<KubeObject> {
  yield serviceCidr();
  const nodes = nodeCount(services);
  for (let index = 0; index < nodes; index++) yield nodeObject(index);
  for (let index = 0; index < services; index++) {
    yield service(index);
    yield slice(index, nodes, endpointsOf(index));
  }
}

/** The addresses that a Service has at first. */
export function endpointsOf(service: number): string[] {
  return Array.from({ length: ENDPOINTS_EACH }, (_, place) => endpointAddress(service * ENDPOINTS_EACH + place));
}

const serviceName = (index: number): string => `service-${String(index).padStart(5, "0")}`;

export function service(index: number): KubeObject {
  const app = serviceName(index);
  const address = clusterIp(index);
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: metadata(app, `5e${hex(index)}`, { app }, NAMESPACE),
    spec: {
      ports: [{ name: "http", protocol: "TCP", port: SERVICE_PORT, targetPort: POD_PORT }],
      selector: { app },
      clusterIP: address,
      clusterIPs: [address],
      type: "ClusterIP",
      sessionAffinity: "None",
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      internalTrafficPolicy: "Cluster",
    },
    status: { loadBalancer: {} },
  };
}

export function slice(index: number, nodes: number, addresses: readonly string[]): KubeObject {
  const app = serviceName(index);
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: metadata(
      `${app}-a1b2c`,
      `e5${hex(index)}`,
      {
        app,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": app,
      },
      NAMESPACE,
    ),
    addressType: "IPv4",
    endpoints: addresses.map((address, place) => {
      const pod = index * ENDPOINTS_EACH + place;
      return {
        addresses: [address],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: `node-${pod % nodes}`,
        targetRef: { kind: "Pod", namespace: NAMESPACE, name: `${app}-${hex(pod)}`, uid: uid(`90${hex(pod)}`) },
      };
    }),
    ports: [{ name: "http", protocol: "TCP", port: POD_PORT }],
  };
}

function nodeObject(index: number): KubeObject {
  const name = `node-${index}`;
  // Only the first one is there; the others are names that endpoints are on.
  const address = index === 0 ? node.address : `10.92.${16 + (index >> 8)}.${index & 255}`;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: metadata(name, `10${hex(index)}`, { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" }),
    spec: {},
    status: {
      addresses: [
        { type: "InternalIP", address },
        { type: "Hostname", address: name },
      ],
      conditions: [
        { type: "Ready", status: "True", reason: "KubeletReady", message: "kubelet is posting ready status" },
      ],
    },
  };
}

function serviceCidr(): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "ServiceCIDR",
    metadata: metadata("kubernetes", "c1d2"),
    spec: { cidrs: [serviceRange] },
  };
}

function metadata(name: string, id: string, labels?: Record<string, string>, namespace?: string): Metadata {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    uid: uid(id),
    creationTimestamp: "2026-01-01T00:00:00Z",
    ...(labels === undefined ? {} : { labels }),
  };
}

const hex = (value: number): string => value.toString(16).padStart(6, "0");
const uid = (id: string): string => `00000000-0000-4000-8000-${id.padStart(12, "0")}`;
