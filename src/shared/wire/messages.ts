// What frames carry: shapes, codes, and the parsers of what a peer sent. HELLO, GOAWAY and REPORT are rare and parsed with
// zod; heads come with every request, so their parsers are written by hand and check the same things.
import { z } from "zod";
import { Violation } from "./frames.ts";
import { CLOSE_REASON_MAX, HEAD_MAX, REASON_MAX } from "./limits.ts";
import { AGENT_SIGHTINGS } from "../http/repeat.ts";

export const helloSchema = z.object({
  versions: z.array(z.int().min(1).max(1000)).min(1).max(16),
  /** What this side can do beside its versions. Unknown ones are ignored, and one that the peer lacks is not used. */
  capabilities: z.array(z.string().max(64)).max(32),
  /** What runs there, for people: "postern-agent 0.1.0". */
  software: z.string().max(128),
  /** From a node: which node, which process, and when it started (epoch ms): a newer process outranks an older one. */
  node: z.string().min(1).max(253).optional(),
  instance: z.string().min(1).max(128).optional(),
  started: z.int().min(0).optional(),
  /** SHA-256 of its program, in hex, for people to compare; absent: it runs from sources, or is older. */
  bundle: z.string().max(64).optional(),
  /** From the edge: which shard this is, and of how many; the agent dials them all. */
  shard: z.int().min(0).max(63).optional(),
  shards: z.int().min(1).max(64).optional(),
});
export type Hello = z.infer<typeof helloSchema>;

/** Capability of a node that answers probes. An older one would take the OPEN of a probe for a violation. */
export const CAN_PROBE = "probe";

export const goAwaySchema = z.object({ reason: z.string().max(256), permanent: z.boolean() });
export type GoAway = z.infer<typeof goAwaySchema>;

export const reportSchema = z.object({
  /** Endpoints that this node finds unavailable. `endpoint`: "namespace/name address:port". */
  endpoints: z.array(z.object({ endpoint: z.string().max(600), reason: z.string().max(256) })).max(1000),
});
export type Report = z.infer<typeof reportSchema>;

/**
 * Encodes a report so that its reader accepts it, whatever is in it. Endpoints for which there is no room are left out: they count as
 * available, and requests soon show that they are not.
 */
export function encodeReport({ endpoints }: Report): Uint8Array {
  let said = endpoints.slice(0, 1000).map(({ endpoint, reason }) => ({
    endpoint: endpoint.slice(0, 600),
    reason: reason.slice(0, 256),
  }));
  let payload = encodeJson({ endpoints: said });
  while (payload.length > HEAD_MAX) {
    said = said.slice(0, said.length / 2);
    payload = encodeJson({ endpoints: said });
  }
  return payload;
}

export interface RequestHead {
  readonly websocket: boolean;
  /** "namespace/name" and Service port: what the node looks up in its own plan. */
  readonly service: string;
  readonly port: number;
  /** The client's address as text; "" unknown. */
  readonly client: string;
  readonly method: string;
  /** Path and query, as the client wrote them. */
  readonly target: string;
  /** [name, value, name, value, …]; values are byte strings (bytes.ts). */
  readonly headers: readonly string[];
  /** How often backends may see this request through this stream: AGENT_SIGHTINGS, or 1 for a repeat that is the last one. */
  readonly sightings: number;
  /** Somebody reads the access log: the node says which endpoint answered, and when. Absent: nobody does. */
  readonly traced?: true;
}

/** What a probe stream asks a node about itself. */
export interface ProbeQuestion {
  /** "namespace/name": a Service that the node is to look at as well; absent: none. */
  readonly service?: string;
}

export interface ResponseHead {
  readonly status: number;
  /** As a request's: values are byte strings. */
  readonly headers: readonly string[];
  /** Of a traced request. */
  readonly by?: AnsweredBy;
}

/** Which endpoint answered a traced request. */
export interface AnsweredBy {
  /** "10.42.0.7:8080" */
  readonly endpoint: string;
  /** From the request's arrival at the node until this endpoint was sent it: earlier tries, and the connection. */
  readonly sentAfterMs: number;
  /** From then until the answer's head. */
  readonly answeredAfterMs: number;
}

/** RESET codes; README.md says what each promises. */
export const Reset = {
  CANCELLED: 1,
  NOT_SENT: 2,
  BROKE: 3,
  REFUSED: 4,
  DONE: 5,
  OVERLOADED: 6,
  STALLED: 7,
  TIMEOUT: 8,
  NO_ENDPOINT: 9,
  TOO_BIG: 10,
  /** The request's head is no HTTP that could be sent (an illegal value): nobody's failure, and the same anywhere else. */
  UNSENDABLE: 11,
} as const;
export type Reset = (typeof Reset)[keyof typeof Reset];

/** The kind of an OPEN that is a probe; 0 and 1 are requests. */
const PROBE_KIND = 2;
/** Characters of "namespace/name": both are DNS names at most. */
const SERVICE_MAX = 2 * 253 + 1;
/** Characters of "address:port": an address may be a DNS name. */
const ENDPOINT_MAX = 253 + 6;

const encoder = new TextEncoder();
// A byte order mark is content here, and must arrive as it was sent.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const encodeText = (text: string): Uint8Array => encoder.encode(text);
export const encodeJson = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

/** Throws Violation where the bytes are not UTF-8. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new Violation("text is not UTF-8");
  }
}

export function parseJson<T>(what: string, schema: z.ZodType<T>, bytes: Uint8Array): T {
  const result = schema.safeParse(json(what, bytes));
  if (!result.success) throw new Violation(`${what}: ${z.prettifyError(result.error)}`);
  return result.data;
}

export function encodeRequestHead(head: RequestHead): Uint8Array {
  const { service, port, client, method, target, headers, sightings } = head;
  const items = [head.websocket ? 1 : 0, service, port, client, method, target, headers, sightings];
  // Older nodes read eight items, and leave a ninth alone.
  if (head.traced) items.push(1);
  return encodeJson(items);
}

export const encodeProbe = ({ service }: ProbeQuestion): Uint8Array => encodeJson([PROBE_KIND, service ?? ""]);

/** What an OPEN asks for. */
export function parseOpen(bytes: Uint8Array): RequestHead | { readonly probe: ProbeQuestion } {
  const value = json("request head", bytes);
  return Array.isArray(value) && value[0] === PROBE_KIND ? { probe: probeQuestion(value) } : requestHead(value);
}

function probeQuestion([, service]: readonly unknown[]): ProbeQuestion {
  if (typeof service !== "string" || service.length > SERVICE_MAX) throw new Violation("a probe names no Service");
  return service === "" ? {} : { service };
}

function requestHead(value: unknown): RequestHead {
  if (!Array.isArray(value) || value.length < 7) throw new Violation("request head is not a list of 7");
  // Older edges send seven items, and mean AGENT_SIGHTINGS.
  const [kind, service, port, client, method, target, headers, sightings = AGENT_SIGHTINGS, traced] =
    value as unknown[];
  if (
    (kind !== 0 && kind !== 1) ||
    typeof service !== "string" ||
    typeof port !== "number" ||
    typeof client !== "string" ||
    typeof method !== "string" ||
    typeof target !== "string" ||
    !isFlatHeaders(headers) ||
    typeof sightings !== "number"
  )
    throw new Violation("request head has a field of the wrong type");
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Violation("request port is not a port");
  // Method and target go on the request line as they are, so they must not be able to end it.
  if (!token.test(method)) throw new Violation("request method is not a token");
  if (!isTarget(target)) throw new Violation("request target is not a path");
  const head: RequestHead = { websocket: kind === 1, service, port, client, method, target, headers, sightings };
  return traced === 1 ? { ...head, traced: true } : head;
}

export const encodeResponseHead = ({ status, headers, by }: ResponseHead): Uint8Array =>
  encodeJson(
    by === undefined ? [status, headers] : [status, headers, [by.endpoint, by.sentAfterMs, by.answeredAfterMs]],
  );

/** Takes any integer for a status; incoming.ts judges whether an answer can have it. */
export function parseResponseHead(bytes: Uint8Array): ResponseHead {
  const value = json("response head", bytes);
  if (!Array.isArray(value) || value.length < 2) throw new Violation("response head is not a list of 2");
  const [status, headers, by] = value as unknown[];
  if (typeof status !== "number" || !Number.isInteger(status) || !isFlatHeaders(headers))
    throw new Violation("response head has a field of the wrong type");
  return by === undefined ? { status, headers } : { status, headers, by: answeredBy(by) };
}

function answeredBy(value: unknown): AnsweredBy {
  const [endpoint, sentAfterMs, answeredAfterMs] = Array.isArray(value) ? (value as unknown[]) : [];
  if (
    typeof endpoint !== "string" ||
    endpoint.length > ENDPOINT_MAX ||
    typeof sentAfterMs !== "number" ||
    typeof answeredAfterMs !== "number"
  )
    throw new Violation("response head does not say which endpoint answered");
  return { endpoint, sentAfterMs, answeredAfterMs };
}

export function encodeReset(code: Reset, reason: string): Uint8Array {
  const payload = new Uint8Array(1 + REASON_MAX);
  payload[0] = code;
  return withReason(payload, 1, reason);
}

/** An unknown code reads as BROKE, because the request may have been sent. */
export function parseReset(payload: Uint8Array): { code: Reset; reason: string } {
  const code = payload[0];
  if (code === undefined) throw new Violation("RESET without a code");
  const known = code >= Reset.CANCELLED && code <= Reset.UNSENDABLE;
  return { code: known ? (code as Reset) : Reset.BROKE, reason: decodeText(payload.subarray(1)) };
}

export function encodeClose(code: number, reason: string): Uint8Array {
  const payload = new Uint8Array(2 + CLOSE_REASON_MAX);
  payload[0] = code >>> 8;
  payload[1] = code;
  return withReason(payload, 2, reason);
}

export function parseClose(payload: Uint8Array): { code: number; reason: string } {
  if (payload.length < 2) throw new Violation("CLOSE without a code");
  const code = ((payload[0] as number) << 8) | (payload[1] as number);
  if (code !== 0 && !isCloseCode(code)) throw new Violation(`CLOSE with code ${code}, which nobody may send`);
  return { code, reason: decodeText(payload.subarray(2)) };
}

/** RFC 6455 §7.4: 1004 to 1006 and 1015 are what an endpoint may report to itself only; the rest is reserved. */
export const isCloseCode = (code: number): boolean =>
  (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);

/** Fills `payload` from `at` with as many whole characters as fit: a reason that is cut within one would be no UTF-8. */
function withReason(payload: Uint8Array, at: number, reason: string): Uint8Array {
  return payload.subarray(0, at + encoder.encodeInto(reason, payload.subarray(at)).written);
}

function json(what: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decodeText(bytes));
  } catch (cause) {
    throw new Violation(`${what} is not JSON`, { cause });
  }
}

function isFlatHeaders(value: unknown): value is string[] {
  if (!Array.isArray(value) || value.length % 2 !== 0) return false;
  for (const item of value) if (typeof item !== "string") return false;
  return true;
}

/** What may stand on a request line as it is: it begins with "/", or is "*", and has no space or control character. */
export const isTarget = (target: string): boolean => (target.startsWith("/") || target === "*") && visible(target);

/** RFC 9110's token. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

function visible(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c <= 0x20 || c === 0x7f) return false;
  }
  return true;
}
