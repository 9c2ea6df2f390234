// From the text that a leader published to a trusted Snapshot, or a refusal that names Service, field and remedy. Pure.
// Other clusters' requests share the thread: the work is cut into slices of some tens of ms, between which its caller lets
// others run, and is given up at the first few faults: to describe all of a hostile snapshot takes minutes and all memory.
// Unknown fields are dropped, not refused: a newer agent may talk to an older edge.
import type { z } from "zod";
import {
  ENDPOINTS_MAX,
  LISTS_MAX,
  SERVICE_LISTS_MAX,
  type Snapshot,
  type SnapshotEndpoint,
  type SnapshotGeneration,
  type SnapshotNode,
  type SnapshotService,
  snapshotEndpointSchema,
  snapshotNodeSchema,
  snapshotSchema,
  snapshotServiceSchema,
} from "../../shared/model/snapshot.ts";
import type { Outcome, Refusal } from "../rpc/contract.ts";
import { scanJson } from "./json-scan.ts";
import { tooCostly } from "./snapshot-cost.ts";

/** Problems named in one refusal. */
const SHOWN = 5;
/** Nodes, Services and endpoints in one slice. */
const SLICE = 500;

/** Stops after each slice. */
type Slices<T> = Generator<void, T>;
type Read = Outcome<{ snapshot: Snapshot; text: string }>;

const envelopeSchema = snapshotSchema.pick({ version: true });
const serviceSchema = snapshotServiceSchema.omit({ endpoints: true });

/** `text` is canonical: equal content gives equal text. */
export function* readInSlices(body: string): Slices<Read> {
  const excess = scanJson(body);
  if (excess !== undefined) return tooLarge(`this is no snapshot, or one that is too large: ${excess}`);
  yield;
  let raw: unknown;
  try {
    raw = JSON.parse(body);
  } catch (cause) {
    return invalid("invalid-json", `the body is not JSON: ${cause instanceof Error ? cause.message : "syntax error"}`);
  }
  yield;
  const reader = new Reader();
  const snapshot = yield* reader.read(raw);
  if (snapshot === undefined) return invalid("invalid-snapshot", reader.faults.join("; "));
  const twice =
    firstTwice(snapshot.nodes.map((node) => `node ${node.name}`)) ??
    firstTwice(snapshot.services.map((service) => `service ${service.namespace}/${service.name}`));
  if (twice !== undefined) return invalid("invalid-snapshot", `${twice} is listed twice: list each once`);
  const costly = tooCostly(snapshot);
  if (costly !== undefined) return tooLarge(costly);
  yield;
  return { ok: true, snapshot, text: JSON.stringify(snapshot) };
}

export function compareGenerations(a: SnapshotGeneration, b: SnapshotGeneration): number {
  return a.epoch - b.epoch || a.sequence - b.sequence;
}

/** Reads one snapshot, item by item. A method that has found faults answers undefined, and reading stops there. */
class Reader {
  readonly faults: string[] = [];
  #items = 0;

  *read(raw: unknown): Slices<Snapshot | undefined> {
    const envelope = this.#parse(envelopeSchema, raw, "");
    if (envelope === undefined) return undefined;
    const lists = this.#lists(raw as Json, LISTS_MAX, "");
    if (lists === undefined || this.#tooManyEndpoints(lists.services)) return undefined;
    const nodes: SnapshotNode[] = [];
    for (const [at, value] of lists.nodes.entries()) {
      const node = yield* this.#item(snapshotNodeSchema, value, `nodes[${at}]${itsName(value)}`);
      if (node === undefined) return undefined;
      nodes.push(node);
    }
    const services: SnapshotService[] = [];
    for (const [at, value] of lists.services.entries()) {
      const service = yield* this.#service(value, `services[${at}]${itsName(value)}`);
      if (service === undefined) return undefined;
      services.push(service);
    }
    return { ...envelope, nodes, services };
  }

  *#service(value: unknown, path: string): Slices<SnapshotService | undefined> {
    if (!isObject(value)) return this.#fault(path, "must be an object");
    const lists = this.#lists(value, SERVICE_LISTS_MAX, path);
    const head = lists && (yield* this.#item(serviceSchema, value, path));
    if (head === undefined) return undefined;
    const endpoints: SnapshotEndpoint[] = [];
    for (const [at, each] of lists?.endpoints.entries() ?? []) {
      const endpoint = yield* this.#item(snapshotEndpointSchema, each, `${path}.endpoints[${at}]`);
      if (endpoint === undefined) return undefined;
      endpoints.push(endpoint);
    }
    // In the schema's order, so that equal content is equal text.
    const { conditions, ...rest } = head;
    return { ...rest, endpoints, conditions };
  }

  /** The named lists of an object, each within its limit. */
  #lists<T extends Readonly<Record<string, number>>>(
    value: Json,
    limits: T,
    path: string,
  ): Record<keyof T, readonly unknown[]> | undefined {
    for (const [name, max] of Object.entries(limits)) {
      const list = value[name];
      const field = path === "" ? name : `${path}.${name}`;
      if (!Array.isArray(list)) return this.#fault(field, "must be a list");
      if (list.length > max) return this.#fault(field, `may have ${max} items at most, and has ${list.length}`);
    }
    return value as Record<keyof T, readonly unknown[]>;
  }

  #tooManyEndpoints(services: readonly unknown[]): boolean {
    let total = 0;
    for (const service of services)
      if (isObject(service) && Array.isArray(service["endpoints"])) total += service["endpoints"].length;
    if (total > ENDPOINTS_MAX)
      this.#fault("services", `may have ${ENDPOINTS_MAX} endpoints together at most, and have ${total}`);
    return total > ENDPOINTS_MAX;
  }

  *#item<T extends z.ZodType>(schema: T, value: unknown, path: string): Slices<z.output<T> | undefined> {
    if (++this.#items % SLICE === 0) yield;
    return this.#parse(schema, value, path);
  }

  #parse<T extends z.ZodType>(schema: T, value: unknown, path: string): z.output<T> | undefined {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const { issues } = parsed.error;
    for (const issue of issues.slice(0, SHOWN)) this.#fault(fieldPath(path, issue.path), issue.message);
    if (issues.length > SHOWN) this.faults.push(`and ${issues.length - SHOWN} more`);
    return undefined;
  }

  #fault(field: string, message: string): undefined {
    this.faults.push(`${field === "" ? "snapshot" : field}: ${message}`);
  }
}

type Json = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** ["ports", 0, "port"] of "services[3] (default/web)" reads services[3] (default/web).ports[0].port */
function fieldPath(start: string, path: readonly PropertyKey[]): string {
  let text = start;
  for (const key of path) {
    if (typeof key === "number") text += `[${key}]`;
    else text += `${text === "" ? "" : "."}${String(key).slice(0, 64)}`;
  }
  return text;
}

/** " (default/web)" for a Service, " (node-a)" for a node, as far as they say. */
function itsName(value: unknown): string {
  if (!isObject(value)) return "";
  const parts = [value["namespace"], value["name"]].filter(
    (part) => typeof part === "string" && /^[\w.-]{1,253}$/.test(part),
  );
  return parts.length === 0 ? "" : ` (${parts.join("/")})`;
}

function firstTwice(names: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return names.find((name) => seen.size === seen.add(name).size);
}

function invalid(reason: string, message: string): Refusal {
  return { ok: false, status: 400, reason, message };
}

function tooLarge(message: string): Refusal {
  return { ok: false, status: 413, reason: "snapshot-too-large", message };
}
