// The world's Kubernetes objects, from short descriptions: Nodes, Services with all of their frontends, EndpointSlices. The
// harness stands for the kubelets and the controllers: it alone writes status and slices. Pure, but for `Cluster`.
import { annotation } from "../../../src/shared/model/annotations.ts";
import type { ApiServer } from "../harness/api-server.ts";
import { nodes, type NodePlace, POD_PORT, SERVICE_PORT, serviceAddresses } from "./places.ts";
import { families, type Family, type Protocol, protocols } from "./row.ts";

export interface EndpointSpec {
  readonly pod: string;
  /** Absent: ready. "ending": it terminates and still serves. "gone": it terminates and serves no more. */
  readonly state?: "ending" | "gone" | "unready";
  /** Hints. */
  readonly zones?: readonly string[];
  readonly nodes?: readonly string[];
}

/** A pod's name alone: it is ready, and there are no hints. */
export type Endpoint = string | EndpointSpec;

/** Absent fields: what most Services have. All get a ClusterIP, a NodePort, an external IP and a LoadBalancer IP per family. */
export interface ServiceSpec {
  readonly name: string;
  /** One EndpointSlice per family and list; one list may be given without its brackets. */
  readonly endpoints: readonly Endpoint[];
  readonly moreEndpoints?: readonly Endpoint[];
  readonly external?: "Local";
  readonly internal?: "Local";
  readonly affinity?: "ClientIP";
  readonly sourceRanges?: readonly string[];
  readonly ipMode?: "Proxy";
  readonly families?: readonly Family[];
  readonly protocols?: readonly Protocol[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Nothing but a ClusterIP. */
  readonly type?: "ClusterIP";
  /** A node that has the LoadBalancer's addresses itself, as some clouds give them. */
  readonly balancerOn?: string;
}

const ZONE = "topology.kubernetes.io/zone";

interface Written {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

export function serviceObject(spec: ServiceSpec, number: number): Written {
  const its = spec.families ?? families;
  const { clusterIP, external, nodePort } = serviceAddresses(number);
  const isOpen = spec.type !== "ClusterIP";
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: spec.name, labels: spec.labels ?? {}, annotations: spec.annotations ?? {} },
    spec: {
      type: spec.type ?? "LoadBalancer",
      ipFamilyPolicy: its.length > 1 ? "RequireDualStack" : "SingleStack",
      ipFamilies: its,
      clusterIP: clusterIP[its[0] ?? "IPv4"],
      clusterIPs: its.map((family) => clusterIP[family]),
      internalTrafficPolicy: spec.internal ?? "Cluster",
      sessionAffinity: spec.affinity ?? "None",
      ...(isOpen && {
        externalIPs: its.map((family) => external[family]),
        externalTrafficPolicy: spec.external ?? "Cluster",
      }),
      ...(spec.sourceRanges && { loadBalancerSourceRanges: spec.sourceRanges }),
      ports: (spec.protocols ?? protocols).map((protocol) => ({
        ...{ name: protocol.toLowerCase(), protocol, port: SERVICE_PORT, targetPort: POD_PORT },
        ...(isOpen && { nodePort }),
      })),
    },
  };
}

/** What a cloud's controller would write; also of the family that the Service has not, which must not matter. */
export function serviceStatus(spec: ServiceSpec, number: number): object {
  const { balancer } = serviceAddresses(number);
  const ingress = families.map((family) => ({ ip: balancer[family], ipMode: spec.ipMode ?? "VIP" }));
  return { status: { loadBalancer: { ingress } } };
}

export function sliceObjects(spec: ServiceSpec): Written[] {
  const lists = [spec.endpoints, ...(spec.moreEndpoints === undefined ? [] : [spec.moreEndpoints])];
  return lists.flatMap((list, index) =>
    (spec.families ?? families).map((family) => ({
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: `${spec.name}-${family.toLowerCase()}-${index}`,
        labels: { "kubernetes.io/service-name": spec.name },
      },
      addressType: family,
      endpoints: list.map((endpoint) => endpointObject(endpoint, family)),
      ports: (spec.protocols ?? protocols).map((protocol) => ({
        name: protocol.toLowerCase(),
        protocol,
        port: POD_PORT,
      })),
    })),
  );
}

function endpointObject(endpoint: Endpoint, family: Family): object {
  const {
    pod,
    state,
    zones,
    nodes: hintedNodes,
  } = typeof endpoint === "string" ? ({ pod: endpoint } as EndpointSpec) : endpoint;
  const node = nodes.find(({ pods }) => pods.some(({ name }) => name === pod));
  const place = node?.pods.find(({ name }) => name === pod);
  if (node === undefined || place === undefined) throw new Error(`there is no pod ${pod}`);
  const named = (names: readonly string[]): object[] => names.map((name) => ({ name }));
  return {
    addresses: [place.addresses[family]],
    nodeName: node.name,
    zone: node.zone,
    conditions: {
      ready: state === undefined,
      serving: state === undefined || state === "ending",
      terminating: state === "ending" || state === "gone",
    },
    ...((zones || hintedNodes) && {
      hints: { ...(zones && { forZones: named(zones) }), ...(hintedNodes && { forNodes: named(hintedNodes) }) },
    }),
  };
}

export function nodeObject({ name, zone, podRanges }: NodePlace): Written {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { [ZONE]: zone, "kubernetes.io/hostname": name } },
    spec: { podCIDR: podRanges.IPv4, podCIDRs: families.map((family) => podRanges[family]) },
  };
}

export function nodeStatus({ addresses }: NodePlace): object {
  return { status: { addresses: families.map((family) => ({ type: "InternalIP", address: addresses[family] })) } };
}

/** Writes them. */
export class Cluster {
  readonly #server: ApiServer;

  constructor(server: ApiServer) {
    this.#server = server;
  }

  async addNode(node: NodePlace): Promise<void> {
    await this.#server.create(nodeObject(node));
    await this.#patch(`/api/v1/nodes/${node.name}/status`, nodeStatus(node));
  }

  async addService(spec: ServiceSpec, number: number): Promise<void> {
    await this.#server.create(serviceObject(spec, number));
    if (spec.type !== "ClusterIP") {
      await this.#patch(`/api/v1/namespaces/default/services/${spec.name}/status`, serviceStatus(spec, number));
    }
    await this.putEndpoints(spec);
  }

  /** Also in place of those that it had. */
  async putEndpoints(spec: ServiceSpec): Promise<void> {
    for (const slice of sliceObjects(spec)) await this.#server.apply(slice);
  }

  async deleteService(name: string): Promise<void> {
    await this.#server.ask("DELETE", `/api/v1/namespaces/default/services/${name}`);
  }

  /** The port that the API server gave to a Service of external policy Local. */
  async healthPort(name: string): Promise<number> {
    const service = (await this.#server.ask("GET", `/api/v1/namespaces/default/services/${name}`)) as {
      spec: { healthCheckNodePort?: number };
    };
    return service.spec.healthCheckNodePort ?? 0;
  }

  async setZone(node: string, zone: string): Promise<void> {
    await this.#patch(`/api/v1/nodes/${node}`, { metadata: { labels: { [ZONE]: zone } } });
  }

  /** Of its endpoints, for schedulers that know weights. */
  async setWeight(node: string, weight: number): Promise<void> {
    await this.#patch(`/api/v1/nodes/${node}`, { metadata: { annotations: { [annotation.weight]: `${weight}` } } });
  }

  async taintNode(name: string, taints: readonly object[]): Promise<void> {
    await this.#patch(`/api/v1/nodes/${name}`, { spec: { taints } });
  }

  async #patch(path: string, body: object): Promise<void> {
    await this.#server.ask("PATCH", path, { body, contentType: "application/merge-patch+json" });
  }
}
