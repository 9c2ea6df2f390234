// What `postern expose` writes: a Service for a workload or an address, or what a Service lacks to be Postern's. Pure.
import { z } from "zod";
import { annotation, CLASS } from "../src/shared/model/annotations.ts";
import { canonicalAddress, familyOf } from "../src/shared/net/ranges.ts";
import { exitCodes, Failed } from "./failed.ts";
import { webAddress } from "./output.ts";

export type Exposed =
  /** "deployment/web" and their like */
  | { readonly kind: "workload"; readonly type: string; readonly name: string }
  | { readonly kind: "service"; readonly name: string }
  /** Something that no pod is: a machine of the LAN. */
  | { readonly kind: "address"; readonly address: string; readonly port: number };

const workloads: Readonly<Record<string, string>> = {
  deployment: "deployment",
  deploy: "deployment",
  statefulset: "statefulset",
  sts: "statefulset",
  daemonset: "daemonset",
  ds: "daemonset",
  replicaset: "replicaset",
  rs: "replicaset",
  pod: "pod",
  po: "pod",
};

export interface ExposeOptions {
  readonly namespace: string;
  /** Of the Service; absent: the workload's. */
  readonly name?: string | undefined;
  /** At which it is to be reached; absent: those of the containers. */
  readonly port?: number | undefined;
  readonly targetPort?: number | undefined;
  readonly hostnames: readonly string[];
}

/** "deployment/web", "service/web", "192.168.1.20:8123", "http://192.168.1.20:8123", "[fd00::1]:80" */
export function parseExposed(text: string): Exposed {
  const [, type = "", name = ""] = /^([a-z]+)s?\/([a-z0-9][a-z0-9.-]*)$/.exec(text) ?? [];
  const singular = type.replace(/s$/, "");
  if (["service", "svc"].includes(type) || ["service", "svc"].includes(singular)) return { kind: "service", name };
  const workload = workloads[type] ?? workloads[singular];
  if (workload !== undefined) return { kind: "workload", type: workload, name };
  const url = type === "" ? addressOf(text) : undefined;
  if (url !== undefined) return url;
  throw new Failed(
    `${text}: must be deployment/NAME, statefulset/NAME, daemonset/NAME, pod/NAME, service/NAME or ADDRESS:PORT`,
    {
      next: "postern expose --help",
      code: exitCodes.usage,
    },
  );
}

function addressOf(text: string): Exposed | undefined {
  const bare = text.replace(/^http:\/\//, "");
  if (!URL.canParse(`http://${bare}`)) return undefined;
  const { hostname, port } = new URL(`http://${bare}`);
  const address = canonicalAddress(hostname.replaceAll(/[[\]]/g, ""));
  if (address === undefined || !/^[^/]*$/.test(bare)) return undefined;
  return { kind: "address", address, port: port === "" ? 80 : Number(port) };
}

const containersSchema = z
  .array(
    z.object({
      ports: z
        .array(z.object({ name: z.string().optional(), containerPort: z.int(), protocol: z.string().default("TCP") }))
        .default([]),
    }),
  )
  .default([]);
const podSpecSchema = z.object({ containers: containersSchema });
const labelsSchema = z.record(z.string(), z.string());

/** The parts of a workload, or of a pod, that are read of `kubectl get -o json`. */
export const workloadSchema = z.object({
  metadata: z.object({ name: z.string(), labels: labelsSchema.default({}) }),
  spec: z.object({
    selector: z.object({ matchLabels: labelsSchema.default({}) }).optional(),
    template: z.object({ spec: podSpecSchema }).optional(),
    containers: containersSchema,
  }),
});
export type Workload = z.output<typeof workloadSchema>;

/** The Service that leads to the workload's pods. Throws what is missing. */
export function serviceFor(
  { metadata, spec }: Workload,
  what: Exposed & { kind: "workload" },
  options: ExposeOptions,
): object {
  const { name = metadata.name, port, targetPort } = options;
  const selector = what.type === "pod" ? metadata.labels : (spec.selector?.matchLabels ?? {});
  if (Object.keys(selector).length === 0)
    throw new Failed(`${what.type}/${what.name} has no labels that a Service could select its pods by`, {
      next: `kubectl label ${what.type} ${what.name} app=${what.name}`,
    });
  const containers = spec.template?.spec.containers ?? spec.containers;
  const own = containers.flatMap(({ ports }) => ports).filter(({ protocol }) => protocol === "TCP");
  const [first, second] = own;
  if (port === undefined && first === undefined)
    throw new Failed(`no container of ${what.type}/${what.name} names a port`, {
      next: `postern expose ${what.type}/${what.name} --port 80 --target-port 8080`,
      code: exitCodes.usage,
    });
  if (
    port !== undefined &&
    targetPort === undefined &&
    second !== undefined &&
    !own.some((each) => each.containerPort === port)
  )
    throw new Failed(`its containers have several ports: ${own.map(({ containerPort }) => containerPort).join(", ")}`, {
      next: `postern expose ${what.type}/${what.name} --port ${port} --target-port ${first?.containerPort}`,
      code: exitCodes.usage,
    });
  const ports =
    port === undefined
      ? own.map((each, at) => ({
          name: each.name ?? `port-${at}`,
          port: each.containerPort,
          targetPort: targetPort ?? each.containerPort,
          protocol: "TCP",
        }))
      : [
          {
            name: "http",
            port,
            targetPort: targetPort ?? (second === undefined ? (first?.containerPort ?? port) : port),
            protocol: "TCP",
          },
        ];
  return { ...head(name, options), spec: { type: "LoadBalancer", loadBalancerClass: CLASS, selector, ports } };
}

/** A Service, and the endpoint behind it, for something that is no pod. */
export function objectsFor(
  { address, port }: Exposed & { kind: "address" },
  options: ExposeOptions,
): readonly object[] {
  const { name, port: wanted = 80, namespace, targetPort = port } = options;
  if (name === undefined)
    throw new Failed(`${address}: say what to call it`, {
      next: `postern expose ${address}:${port} --name NAME`,
      code: exitCodes.usage,
    });
  const family = familyOf(address);
  return [
    {
      ...head(name, options),
      spec: {
        type: "LoadBalancer",
        loadBalancerClass: CLASS,
        ipFamilyPolicy: "SingleStack",
        ipFamilies: [family],
        ports: [{ name: "http", port: wanted, targetPort, protocol: "TCP" }],
      },
    },
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: `${name}-postern`, namespace, labels: { "kubernetes.io/service-name": name } },
      addressType: family,
      ports: [{ name: "http", port: targetPort, protocol: "TCP" }],
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
    },
  ];
}

const head = (name: string, { namespace, hostnames }: ExposeOptions) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: {
    name,
    namespace,
    ...(hostnames.length === 0 ? {} : { annotations: { [annotation.hostname]: hostnames.join(",") } }),
  },
});

export const serviceSchema = z.object({
  metadata: z.object({
    name: z.string(),
    namespace: z.string(),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  spec: z.object({
    type: z.string().default("ClusterIP"),
    clusterIP: z.string().optional(),
    loadBalancerClass: z.string().optional(),
    ports: z.array(z.object({ port: z.int(), protocol: z.string().default("TCP") })).default([]),
  }),
  status: z
    .object({
      loadBalancer: z
        .object({ ingress: z.array(z.object({ hostname: z.string().optional() })).default([]) })
        .default({ ingress: [] }),
      conditions: z
        .array(z.object({ type: z.string(), status: z.string(), message: z.string().default("") }))
        .default([]),
    })
    .default({ loadBalancer: { ingress: [] }, conditions: [] }),
});
export type Service = z.output<typeof serviceSchema>;

/** What makes it Postern's, as a merge patch; undefined where it is already. */
export function patchFor({ metadata, spec }: Service, { hostnames }: ExposeOptions): object | undefined {
  const annotations: Record<string, string> = {};
  const names = hostnames.join(",");
  if (names !== "" && metadata.annotations[annotation.hostname] !== names) annotations[annotation.hostname] = names;
  const isPlain = spec.type !== "ExternalName" && spec.clusterIP !== "None";
  if (!isPlain && metadata.annotations[annotation.expose] !== "true") annotations[annotation.expose] = "true";
  const isOurs = spec.type === "LoadBalancer" && spec.loadBalancerClass === CLASS;
  if (isPlain && !isOurs && spec.type === "LoadBalancer")
    // Kubernetes lets nobody change the class while the type stays.
    throw new Failed(
      `Service ${metadata.name} is of type LoadBalancer already, ${spec.loadBalancerClass === undefined ? "without a class" : `of class ${spec.loadBalancerClass}`}, and Kubernetes lets nobody change that`,
      {
        next: `make another Service for the same pods, or: kubectl -n ${metadata.namespace} patch service ${metadata.name} -p '{"spec":{"type":"ClusterIP"}}', and expose it again`,
      },
    );
  const patch = {
    ...(Object.keys(annotations).length === 0 ? {} : { metadata: { annotations } }),
    ...(isPlain && !isOurs ? { spec: { type: "LoadBalancer", loadBalancerClass: CLASS } } : {}),
  };
  return Object.keys(patch).length === 0 ? undefined : patch;
}

/** Where it is reached; empty until the edge has taken it. */
export function addressesOf({ spec, status }: Service): readonly string[] {
  const names = status.loadBalancer.ingress.flatMap(({ hostname }) => hostname ?? []);
  return names.flatMap((name) =>
    spec.ports.filter(({ protocol }) => protocol === "TCP").map(({ port }) => webAddress(name, port, port === 443)),
  );
}
