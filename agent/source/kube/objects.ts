// What the API server sends → the objects that Postern keeps, trimmed on arrival, or what is wrong with them. Pure.
// Most of an object is never used (managedFields, the whole manifest as an annotation): a cluster of thousands fits into
// little memory only because it is dropped here.
import { fieldName, remedy } from "../explain.ts";
import { type KubeObject, schemas } from "../resources.ts";

export type SchemaId = keyof typeof schemas;

export interface Kind {
  readonly id: SchemaId;
  /** "Service" */
  readonly name: string;
  readonly apiVersion: string;
  readonly path: string;
  /** Older API servers do not have it (404), which is no problem then. */
  readonly optional: boolean;
}

const kind = (id: SchemaId, path: string, { optional = false } = {}): Kind => {
  const slash = id.lastIndexOf("/");
  return { id, name: id.slice(slash + 1), apiVersion: id.slice(0, slash), path, optional };
};

/** All slices: those of headless Services, and of Services that another proxy serves inside, may be exposed as well. */
export const kinds: readonly Kind[] = [
  kind("v1/Service", "/api/v1/services"),
  kind("discovery.k8s.io/v1/EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"),
  kind("v1/Node", "/api/v1/nodes"),
];
/** In Kubernetes since 1.33. API servers before that answer 404, also those that have it as v1beta1. */
export const serviceCIDRs = kind("networking.k8s.io/v1/ServiceCIDR", "/apis/networking.k8s.io/v1/servicecidrs", {
  optional: true,
});

export type Received =
  | { readonly ok: true; readonly key: string; readonly version: string; readonly object: KubeObject }
  /** Known by name, but not usable. `key` undefined: not even that. */
  | { readonly ok: false; readonly key: string | undefined; readonly version: string; readonly problem: string };

const ANNOTATIONS =
  /^(postern\.dev\/|service\.beta\.kubernetes\.io\/load-balancer-source-ranges$|endpoints\.kubernetes\.io\/last-change-trigger-time$)/;
const SLICE_LABELS = /^(kubernetes\.io\/service-name|service\.kubernetes\.io\/headless)$/;

/** Items of a list carry neither kind nor apiVersion. */
export function receive({ id, name: kindName, apiVersion }: Kind, raw: unknown): Received {
  const fields = record(raw);
  const metadata = record(fields["metadata"]);
  const { name, namespace, resourceVersion } = metadata;
  const version = typeof resourceVersion === "string" ? resourceVersion : "";
  const key = typeof name !== "string" ? undefined : typeof namespace === "string" ? `${namespace}/${name}` : name;
  const labels = kindName === "EndpointSlice" ? only(metadata["labels"], SLICE_LABELS) : metadata["labels"];
  const object = {
    ...fields,
    kind: kindName,
    apiVersion,
    metadata: { ...metadata, labels, annotations: only(metadata["annotations"], ANNOTATIONS) },
  };
  const whole = schemas[id].safeParse(object);
  // A Service on its way out must be seen to go, whatever is wrong with its spec: else our finalizer holds it for ever.
  const isGoing = kindName === "Service" && typeof metadata["deletionTimestamp"] === "string";
  const { type } = record(fields["spec"]);
  const parsed = whole.success || !isGoing ? whole : schemas[id].safeParse({ ...object, spec: { type } });
  if (parsed.success && key !== undefined) return { ok: true, key, version, object: parsed.data };
  const issues = parsed.error?.issues.map((issue) => `${fieldName(issue.path)}: ${remedy(issue)}`) ?? ["has no name"];
  return { ok: false, key, version, problem: `cannot be used: ${issues.slice(0, 3).join("; ")}` };
}

export const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

function only(value: unknown, wanted: RegExp): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => wanted.test(name)));
}
