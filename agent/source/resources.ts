// The kinds of Kubernetes object that Postern reads, trimmed to the fields it uses. Parsed once, where they enter
// the agent (files or API server). Unknown fields are dropped, so newer API servers do no harm; a field that we use
// must be right, and the error names it. Defaults are the API server's, so that hand-written YAML means the same, and so are the
// limits: an object that an API server takes must not be missing here, for then the node does not forward it. What the edge takes
// less of is cut where its snapshot is made.
import { z } from "zod";

/** RFC 1123 subdomain: names of Services, nodes, slices. */
const objectName = z
  .string({
    error: ({ input }) =>
      input === undefined ? "is missing: write a name (generateName is for an API server)" : "must be text",
  })
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, "must be lower-case letters, digits, '-' or '.', such as web-1");
const portRule = "must be a whole number from 1 to 65535, without quotes";
const port = z
  .int({ error: ({ input }) => (input === undefined ? `is missing: ${portRule}` : portRule) })
  .min(1, portRule)
  .max(65535, portRule);
/** Of a slice, where an API server takes any number. What is no port is none, as 0 is for kube-proxy: the other ports count. */
const endpointPort = z.int(portRule).transform((written) => (written >= 1 && written <= 65535 ? written : undefined));
const text = z.string();
/** status.loadBalancer.ingress[].ports[].error, and some more. */
const READ_DEPTH = 8;
/**
 * In the API null and absent are the same. Each schema below says "optional" alone: a cluster of thousands has millions of fields, and
 * each layer of a schema costs a call and an object. An object that is refused as it is, is parsed again without its fields that are
 * null; no schema takes null for anything else.
 */
function object<T extends z.ZodRawShape>(shape: T) {
  const whole = z.object(shape);
  return z.unknown().transform((value, context): z.output<typeof whole> => {
    const asItIs = whole.safeParse(value);
    const parsed = asItIs.success ? asItIs : whole.safeParse(withoutNulls(value));
    if (parsed.success) return parsed.data;
    context.issues.push(...parsed.error.issues.map((issue) => ({ ...issue, input: undefined })));
    return z.NEVER;
  });
}
/** Gives the same value where none is null. What lies deeper than anything that is read stays as it is. */
function withoutNulls(value: unknown, depth = 0): unknown {
  if (typeof value !== "object" || value === null || depth > READ_DEPTH) return value;
  if (Array.isArray(value)) {
    let copy: unknown[] | undefined;
    for (let at = 0; at < value.length; at++) {
      const item = withoutNulls(value[at], depth + 1);
      if (item !== value[at]) (copy ??= [...value])[at] = item;
    }
    return copy ?? value;
  }
  const fields = value as Record<string, unknown>;
  let copy: Record<string, unknown> | undefined;
  for (const name of Object.keys(fields)) {
    const field = withoutNulls(fields[name], depth + 1);
    if (field === fields[name] && field !== null) continue;
    copy ??= { ...fields };
    if (field === null) delete copy[name];
    else copy[name] = field;
  }
  return copy ?? value;
}
const defaulted = <const T extends readonly [string, ...string[]]>(values: T, fallback: T[number]) =>
  z.enum(values).default(fallback);
const protocol = defaulted(["TCP", "UDP", "SCTP"], "TCP");
/** Of a port, in Services and slices alike: absent, null and "" are the same to the API server, which fills in "". */
const portName = text.max(63).default("");
/** A name, and before it a domain and a slash. */
const qualifiedName = text.max(317);
/** What the pods speak; "" where nobody says. */
const appProtocol = qualifiedName.default("");
const policy = defaulted(["Cluster", "Local"], "Cluster");
const list = <T extends z.ZodType>(type: T, max?: number) =>
  (max === undefined ? z.array(type) : z.array(type).max(max)).default(() => []);

const metadata = z.object({
  name: objectName,
  namespace: objectName.default("default"),
  uid: text.min(1).max(253),
  /** Absent in files. */
  resourceVersion: z.optional(text.max(253)),
  creationTimestamp: z.iso.datetime({ offset: true, error: "must be a time such as 2026-01-31T12:00:00Z" }),
  deletionTimestamp: z.optional(text),
  labels: z.record(text, text).default(() => ({})),
  annotations: z.record(text, text).default(() => ({})),
});
/** Of a Service also what tells whether it is ours, and who else writes its status. */
const serviceMetadata = metadata.extend({
  finalizers: list(qualifiedName),
  /** In: as the API has it. Out: names of those who wrote status.loadBalancer, each once. */
  managedFields: list(
    z
      .object({ manager: text.default(""), fieldsV1: z.optional(z.looseObject({})) })
      .transform(({ manager, fieldsV1 }) => {
        const status = fieldsV1?.["f:status"];
        return typeof status === "object" && status !== null && "f:loadBalancer" in status ? [manager] : [];
      }),
  ).transform((managers) => [...new Set(managers.flat())]),
});
/** Nodes and ServiceCIDRs belong to no namespace. */
const clusterMetadata = metadata.omit({ namespace: true });

const ingress = z.object({
  hostname: z.optional(text.max(253)),
  ip: z.optional(text.max(64)),
  ipMode: z.optional(text.max(64)),
  ports: list(z.object({ port: z.int(), protocol: text, error: z.optional(text) })),
});
const statusCondition = z.object({
  type: text,
  status: text,
  reason: text.default(""),
  message: text.default(""),
});

export const serviceSchema = object({
  apiVersion: z.literal("v1"),
  kind: z.literal("Service"),
  metadata: serviceMetadata,
  spec: z.object({
    type: defaulted(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"], "ClusterIP"),
    loadBalancerClass: z.optional(qualifiedName),
    clusterIP: z.optional(text.max(64)),
    clusterIPs: list(text.max(64), 2),
    externalIPs: list(text.max(64)),
    ipFamilies: list(z.enum(["IPv4", "IPv6"]), 2),
    externalName: z.optional(text.max(253)),
    selector: z.optional(z.record(text, text)),
    ports: list(
      z.object({
        name: portName,
        protocol,
        appProtocol,
        port,
        targetPort: z.optional(z.union([port, text.max(63)])),
        // 0 is how "none" is sometimes written.
        nodePort: z.optional(z.int().min(0).max(65535)),
      }),
    ),
    externalTrafficPolicy: policy,
    internalTrafficPolicy: policy,
    healthCheckNodePort: z.optional(z.int().min(0).max(65535)),
    loadBalancerSourceRanges: list(text.max(64)),
    sessionAffinity: defaulted(["None", "ClientIP"], "None"),
    sessionAffinityConfig: z.optional(
      z.object({ clientIP: z.optional(z.object({ timeoutSeconds: z.optional(z.int().min(1).max(86_400)) })) }),
    ),
  }),
  status: z
    .object({
      loadBalancer: z.object({ ingress: list(ingress) }).default(() => ({ ingress: [] })),
      conditions: list(statusCondition),
    })
    .default(() => ({ loadBalancer: { ingress: [] }, conditions: [] })),
});
export type KubeService = z.output<typeof serviceSchema>;

const hints = z.object({
  forZones: list(z.object({ name: text.max(253) }), 8),
  forNodes: list(z.object({ name: text.max(253) }), 8),
});

const endpointSliceSchema = object({
  apiVersion: z.literal("discovery.k8s.io/v1"),
  kind: z.literal("EndpointSlice"),
  metadata,
  addressType: z.enum(["IPv4", "IPv6", "FQDN"]),
  endpoints: list(
    z.object({
      addresses: z.array(text.min(1).max(253)).min(1).max(100),
      // null and absent mean: ready, serving, not terminating. endpoints.ts reads them so.
      conditions: z.optional(
        z.object({
          ready: z.optional(z.boolean()),
          serving: z.optional(z.boolean()),
          terminating: z.optional(z.boolean()),
        }),
      ),
      nodeName: z.optional(text.max(253)),
      zone: z.optional(text.max(253)),
      targetRef: z.optional(z.object({ uid: z.optional(text.max(253)) })),
      hints: z.optional(hints),
    }),
    1000,
  ),
  ports: list(z.object({ name: portName, port: z.optional(endpointPort), protocol, appProtocol }), 20_000),
});
export type KubeEndpointSlice = z.output<typeof endpointSliceSchema>;

export const nodeSchema = object({
  apiVersion: z.literal("v1"),
  kind: z.literal("Node"),
  metadata: clusterMetadata,
  spec: z
    .object({ taints: list(z.object({ key: text, effect: text })), podCIDRs: list(text.max(64), 2) })
    .default(() => ({ taints: [], podCIDRs: [] })),
  status: z
    .object({ addresses: list(z.object({ type: text, address: text.max(253) })) })
    .default(() => ({ addresses: [] })),
});
export type KubeNode = z.output<typeof nodeSchema>;

/** From which ranges the cluster takes its ClusterIPs. */
const serviceCIDRSchema = object({
  apiVersion: z.literal("networking.k8s.io/v1"),
  kind: z.literal("ServiceCIDR"),
  metadata: clusterMetadata,
  spec: z.object({ cidrs: list(text.max(64), 2) }).default(() => ({ cidrs: [] })),
});
export type KubeServiceCIDR = z.output<typeof serviceCIDRSchema>;

/** "apiVersion/kind" → how it is parsed. */
export const schemas = {
  "v1/Service": serviceSchema,
  "discovery.k8s.io/v1/EndpointSlice": endpointSliceSchema,
  "v1/Node": nodeSchema,
  "networking.k8s.io/v1/ServiceCIDR": serviceCIDRSchema,
} as const;
export type KubeObject = KubeService | KubeEndpointSlice | KubeNode | KubeServiceCIDR;
