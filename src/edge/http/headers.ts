// Header rules of the edge, both ways and for both transports: what is hop-by-hop goes, what only we may say is dropped
// and set anew, everything else passes byte for byte, or the message is refused. Runs for every request: one pass over the headers, decided by first
// character or length, nothing compiled or lower-cased without need (names in a Headers are lower case already).
// Decides nothing about bodies: framing belongs to the transport. Keeps no state but names of listeners that it has hashed.
//
// Loops: each listener adds a mark of its own to CDN-Loop (RFC 8586), and refuses what has that mark already. Not by Via,
// which servers take for a reason to answer otherwise (nginx stops compressing).
import { bytesOfText, isAscii, isByteString, textOfBytes } from "../../shared/http/bytes.ts";
import { hash32 } from "../../shared/balance/hash.ts";
import { decodeLines, encodeLines, FORWARDED } from "./forwarded.ts";

/** What the edge knows of a request and a backend may be told. */
export interface RequestFacts {
  /** The client's address; "" unknown. */
  readonly client: string;
  readonly proto: "http" | "https";
  /** The Host header as it came, of a request that matched a listener: so a DNS name, perhaps with a port. */
  readonly host: string;
  /** The listener's port. */
  readonly port: number;
  /**
   * What the client itself sent as Accept-Encoding, where something in front of us rewrites it; "" if it sent none.
   * Absent: the header is true as it is.
   */
  readonly acceptEncoding?: string | undefined;
  /** FORWARDED.raw, where a listener proxy that has proved itself says it. */
  readonly raw?: string | null | undefined;
  /** It came through a trusted proxy: what that says of the client beside its address (x-forwarded-user) passes. */
  readonly trusted?: boolean | undefined;
  /** Tells this edge from others that serve the same host and port, as every local one serves localhost. */
  readonly edge?: string | undefined;
}

/** Thrown where a message cannot be passed on as it came. `detail` may be shown to clients. */
export interface Refused {
  readonly reason: "bad-request" | "loop" | "bad-gateway-answer";
  readonly detail: string;
}

/** [name, value, name, value, …] for the tunnel, values as byte strings. Host is kept; a WebSocket's handshake headers are the agent's. */
export function requestHeaders(headers: Headers, facts: RequestFacts): readonly string[] | Refused {
  const loop = loopMarks(headers, facts);
  if (loop === undefined) return LOOP;
  const flat = passing(headers, facts, "bytes") as string[] | Refused;
  if ("reason" in flat) return flat;
  say(flat, facts, loop);
  return flat;
}

/** The same for a `fetch` of ours, which writes Host itself: the client's is in X-Forwarded-Host alone. */
export function directRequestHeaders(headers: Headers, facts: RequestFacts): Headers | Refused {
  const loop = loopMarks(headers, facts);
  if (loop === undefined) return LOOP;
  const flat = passing(headers, facts, "ascii");
  if (flat === "not-ascii") return copyWithout(headers, facts, loop);
  if ("reason" in flat) return flat;
  say(flat, facts, loop);
  const result = new Headers();
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] as string;
    if (name !== "host") result.append(name, flat[i + 1] as string);
  }
  return result;
}

/** A copy from which names are taken: values that nobody reads keep their bytes, also those that are no text. Costs more. */
function copyWithout(headers: Headers, facts: RequestFacts, loop: string): Headers {
  const { acceptEncoding, trusted = false } = facts;
  const result = new Headers(headers);
  headers.forEach((_, name) => {
    if (oursToSay(name) && !(trusted && saidByProxies(name))) result.delete(name);
  });
  const connection = headers.get("connection") ?? "";
  if (namesHeaders(connection)) for (const name of listed(connection)) result.delete(name);
  result.delete("host");
  if (acceptEncoding !== undefined) result.delete("accept-encoding");
  if (acceptEncoding !== undefined && acceptEncoding !== "") result.set("accept-encoding", acceptEncoding);
  const ours: string[] = [];
  say(ours, facts, loop);
  for (let i = 0; i < ours.length; i += 2) result.append(ours[i] as string, ours[i + 1] as string);
  return result;
}

const LOOP: Refused = {
  reason: "loop",
  detail: "CDN-Loop says that this request has come through this listener before.",
};

/** Adds what only the edge says. */
function say(flat: string[], facts: RequestFacts, loop: string): void {
  const { client, proto, host, port } = facts;
  flat.push("cdn-loop", loop);
  flat.push("x-forwarded-proto", proto, "x-forwarded-host", host, "x-forwarded-port", String(port));
  if (client !== "") flat.push("x-forwarded-for", client);
  flat.push("forwarded", forwarded(facts));
}

/**
 * The answer's headers as the client gets them. A Headers is text: bytes that are no UTF-8 have no place in it. `proxied`: a
 * listener proxy takes them out of FORWARDED.raw, and so every value that is no ASCII.
 */
export function responseHeaders(flat: readonly string[], proxied: boolean): Headers | Refused {
  const result = new Headers();
  let connection = "";
  let odd: Set<string> | undefined;
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] as string;
    const value = flat[i + 1] as string;
    if (staysAtTheEdge(name)) {
      if (isConnection(name)) connection = connection === "" ? value : `${connection},${value}`;
      continue;
    }
    let text: string | undefined = value;
    if (!isAscii(value)) {
      text = proxied && isByteString(value) ? value.replace(/[^\0-\x7f]/g, "?") : textOfBytes(value);
      if (proxied) (odd ??= new Set()).add(name.toLowerCase());
    }
    if (text === undefined || !appended(result, name, text)) return unpassable(name);
  }
  if (namesHeaders(connection)) for (const name of listed(connection)) result.delete(name);
  if (odd !== undefined) result.set(FORWARDED.raw, encodeLines(linesNamed(flat, odd, result)));
  return result;
}

const unpassable = (name: string): Refused => ({
  reason: "bad-gateway-answer",
  // A name that is none may hold anything.
  detail: token.test(name.toLowerCase())
    ? `The server's answer has a header ${name} whose value cannot be passed on.`
    : "The server's answer has a header whose name is none.",
});

/** False: a name that is no token, or a value with a line break or NUL. */
function appended(headers: Headers, name: string, value: string): boolean {
  // workerd would take and send it.
  if (name === "") return false;
  try {
    headers.append(name, value);
    return true;
  } catch {
    return false;
  }
}

/** All lines of these names, as they came, of those that `result` still has. */
function linesNamed(flat: readonly string[], names: ReadonlySet<string>, result: Headers): string[] {
  const lines: string[] = [];
  for (let i = 0; i < flat.length; i += 2) {
    const name = (flat[i] as string).toLowerCase();
    if (names.has(name) && result.has(name)) lines.push(name, flat[i + 1] as string);
  }
  return lines;
}

/** The answer's headers of a `fetch` of ours: a copy as well. */
export function directResponseHeaders(headers: Headers): Headers {
  const result = new Headers(headers);
  headers.forEach((_, name) => {
    if (staysAtTheEdge(name)) result.delete(name);
  });
  const connection = headers.get("connection") ?? "";
  if (namesHeaders(connection)) for (const name of listed(connection)) result.delete(name);
  return result;
}

/** "bytes": values as byte strings. "ascii": given up where some value is not. */
function passing(headers: Headers, facts: RequestFacts, as: "bytes" | "ascii"): string[] | Refused | "not-ascii" {
  const { acceptEncoding, trusted = false } = facts;
  let ascii = true;
  let flat: string[] = [];
  let connection = "";
  let raw: ReadonlyMap<string, readonly string[]> | undefined;
  let lost: string | undefined;
  headers.forEach((value, name) => {
    if (name === "connection") connection = value;
    else if (acceptEncoding !== undefined && name === "accept-encoding") return;
    else if (oursToSay(name) && !(trusted && saidByProxies(name))) return;
    else if (isAscii(value)) flat.push(name, value);
    else if (as === "ascii") ascii = false;
    else {
      raw ??= rawLines(facts.raw);
      const lines = raw.get(name) ?? linesOf(value);
      if (lines === undefined) lost = name;
      else for (const line of lines) flat.push(name, line);
    }
  });
  if (!ascii) return "not-ascii";
  if (lost !== undefined)
    return { reason: "bad-request", detail: `The header ${lost} has bytes that cannot be passed on: it is no UTF-8.` };
  // Names come sorted, so what Connection lists may have passed before it was seen.
  if (namesHeaders(connection)) flat = without(flat, listed(connection));
  if (acceptEncoding !== undefined && acceptEncoding !== "") flat.push("accept-encoding", acceptEncoding);
  return flat;
}

/** A value that is no ASCII, as a byte string. undefined: not all of its bytes are there any more. */
function linesOf(text: string): readonly string[] | undefined {
  // What workerd puts in the place of bytes that are no UTF-8; who sends it in earnest is refused, too.
  return text.includes("\ufffd") ? undefined : [bytesOfText(text)];
}

/** FORWARDED.raw by name; empty where there is none. */
function rawLines(encoded: string | null | undefined): ReadonlyMap<string, readonly string[]> {
  const lines = new Map<string, string[]>();
  if (encoded === null || encoded === undefined) return lines;
  const flat = decodeLines(encoded);
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] as string;
    const value = flat[i + 1] as string;
    const before = lines.get(name);
    if (before === undefined) lines.set(name, [value]);
    else before.push(value);
  }
  return lines;
}

const MARK = "postern-";
/** How many listeners a request may pass one after another before it counts as a loop. */
const HOPS_MAX = 16;

/** Each listener's mark, made once; more of them than this, as hosts that somebody invents, are made anew each time. */
const marks = new Map<string, string>();
const MARKS_MAX = 1_000;

function markOf({ edge = "", host, port }: RequestFacts): string {
  const listener = `${edge} ${host} ${port}`;
  const known = marks.get(listener);
  if (known !== undefined) return known;
  const mark = MARK + hash32(listener).toString(16);
  if (marks.size < MARKS_MAX) marks.set(listener, mark);
  return mark;
}

/** The CDN-Loop header to send on; undefined: the request came through this listener before, or through too many. */
function loopMarks(headers: Headers, facts: RequestFacts): string | undefined {
  const mine = markOf(facts);
  const before = headers.get("cdn-loop");
  if (before === null) return mine;
  let hops = 0;
  for (const each of before.split(",")) {
    const mark = each.trim();
    if (mark === mine) return undefined;
    if (mark.startsWith(MARK)) hops++;
  }
  return hops < HOPS_MAX ? `${before}, ${mine}` : undefined;
}

/** Request headers that end here. CGI and WSGI give "X_Forwarded_For" the variable of "X-Forwarded-For", so both do. */
function oursToSay(name: string): boolean {
  if (!unusual.test(name)) return isOurs(name);
  const alias = name.replace(/[^a-z0-9-]/g, "-");
  return alias === "content-length" || isOurs(alias);
}

const unusual = /[^a-z0-9-]/;

/** What a trusted proxy says of the client, beside what the edge says itself. */
function saidByProxies(name: string): boolean {
  switch (name) {
    case "x-forwarded-for":
    case "x-forwarded-proto":
    case "x-forwarded-host":
    case "x-forwarded-port":
      return false;
    default:
      return name.startsWith("x-forwarded-");
  }
}

/** Hop-by-hop, or what only the edge may say. */
function isOurs(name: string): boolean {
  switch (name.charCodeAt(0)) {
    case 0x63: // c
      return name === "connection" || name === "cdn-loop" || name.startsWith("cf-");
    case 0x65: // e: workerd has answered a 100-continue already
      return name === "expect";
    case 0x66: // f
      return name === "forwarded";
    case 0x68: // h
      return name === "http2-settings";
    case 0x6b: // k
      return name === "keep-alive";
    case 0x70: // p
      // "Proxy" becomes HTTP_PROXY there, which programs take for their own setting.
      return name === "proxy-connection" || name === "proxy-authorization" || name === "proxy";
    case 0x73: // s: sec-websocket-protocol is the application's
      return name === "sec-websocket-key" || name === "sec-websocket-version" || name === "sec-websocket-extensions";
    case 0x74: // t
      return name === "te" || name === "trailer" || name === "transfer-encoding" || name === "true-client-ip";
    case 0x75: // u
      return name === "upgrade";
    case 0x78: // x
      return name === "x-real-ip" || name.startsWith("x-forwarded-") || name.startsWith("x-postern-");
    default:
      return false;
  }
}

/**
 * Response headers that end here, in any case: hop-by-hop ones, the WebSocket handshake's, and x-postern-*, by which the
 * edge's own parts talk to each other.
 */
function staysAtTheEdge(name: string): boolean {
  switch (name.length) {
    case 7:
    case 10:
    case 16:
    case 17:
    case 18:
    case 20:
    case 24:
      if (hopByHopOfResponse.has(name.toLowerCase())) return true;
  }
  // "x-p…": the third letter tells most others apart without a copy.
  return (name.charCodeAt(2) | 0x20) === 0x70 && name.slice(0, 10).toLowerCase() === "x-postern-";
}

/** Their lengths are the cases of staysAtTheEdge. */
const hopByHopOfResponse = new Set([
  "trailer",
  "upgrade",
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "proxy-authenticate",
  "sec-websocket-accept",
  "sec-websocket-extensions",
]);

const isConnection = (name: string): boolean => name.length === 10 && (name.charCodeAt(0) | 0x20) === 0x63;

/** False for the everyday values of Connection, which name no header that would otherwise pass. */
export function namesHeaders(connection: string): boolean {
  switch (connection) {
    case "":
    case "keep-alive":
    case "Keep-Alive":
    case "close":
    case "upgrade":
    case "Upgrade":
    case "keep-alive, Upgrade":
      return false;
    default:
      return true;
  }
}

/** What Connection lists, less what carries the message itself: a peer may not take Host or framing away. */
function listed(connection: string): Set<string> {
  const names = new Set(connection.split(",").map((name) => name.trim().toLowerCase()));
  for (const kept of ["", "host", "content-length", "content-encoding", "content-type"]) names.delete(kept);
  return new Set([...names].filter((name) => token.test(name)));
}

const token = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

function without(flat: readonly string[], names: ReadonlySet<string>): string[] {
  const rest: string[] = [];
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] as string;
    if (!names.has(name)) rest.push(name, flat[i + 1] as string);
  }
  return rest;
}

/** RFC 7239: `for=192.0.2.60;host=a.example;proto=https`; what has a colon is quoted, IPv6 in brackets. */
function forwarded({ client, host, proto }: RequestFacts): string {
  const by = client === "" ? "unknown" : client.includes(":") ? `"[${client}]"` : client;
  return `for=${by};host=${host.includes(":") ? `"${host}"` : host};proto=${proto}`;
}
