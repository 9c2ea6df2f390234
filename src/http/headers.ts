// Header rules of the edge, both ways and for both transports: what is hop-by-hop goes, what only we may say is dropped
// and set anew, everything else passes byte for byte. Runs for every request: one pass over the headers, decided by first
// character or length, nothing compiled or lower-cased without need (names in a Headers are lower case already).
// Decides nothing about bodies: framing belongs to the transport. Keeps no state.

import { isAscii } from "../wire/bytes.ts";

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
}

/** [name, value, name, value, …] for the tunnel. Host is kept; a WebSocket's handshake headers are the agent's. */
export function requestHeaders(headers: Headers, facts: RequestFacts): string[] {
  const flat = passing(headers, facts);
  flat.push("x-forwarded-proto", facts.proto, "x-forwarded-host", facts.host, "x-forwarded-port", String(facts.port));
  if (facts.client !== "") flat.push("x-forwarded-for", facts.client);
  flat.push("forwarded", forwarded(facts));
  return flat;
}

/** The same for a `fetch` of ours, which writes Host itself: the client's is in X-Forwarded-Host alone. */
export function directRequestHeaders(headers: Headers, facts: RequestFacts): Headers {
  const flat = requestHeaders(headers, facts);
  const result = new Headers();
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] as string;
    const value = flat[i + 1] as string;
    if (!isAscii(value)) return copyWithout(headers, facts);
    if (name !== "host") result.append(name, value);
  }
  return result;
}

/** A copy from which names are taken: values that nobody reads keep their bytes, also those that are no text. Costs more. */
function copyWithout(headers: Headers, facts: RequestFacts): Headers {
  const result = new Headers(headers);
  headers.forEach((_, name) => {
    if (oursToSay(name)) result.delete(name);
  });
  const connection = headers.get("connection") ?? "";
  if (namesHeaders(connection)) for (const name of listed(connection)) result.delete(name);
  result.delete("host");
  if (facts.acceptEncoding !== undefined) result.delete("accept-encoding");
  // Of no headers at all only what the edge says is left.
  const ours = requestHeaders(NONE, facts);
  for (let i = 0; i < ours.length; i += 2) result.append(ours[i] as string, ours[i + 1] as string);
  return result;
}

const NONE = new Headers();

/** The answer's headers as the client gets them; undefined: no legal HTTP, so the answer counts as broken. */
export function responseHeaders(flat: readonly string[]): Headers | undefined {
  const result = new Headers();
  let connection = "";
  try {
    for (let i = 0; i < flat.length; i += 2) {
      const name = flat[i] as string;
      const value = flat[i + 1] as string;
      // workerd would send it.
      if (name === "") return undefined;
      if (!staysAtTheEdge(name)) result.append(name, value);
      else if (isConnection(name)) connection = connection === "" ? value : `${connection},${value}`;
    }
  } catch {
    // A name that is no token, or a value with a line break or NUL.
    return undefined;
  }
  if (namesHeaders(connection)) for (const name of listed(connection)) result.delete(name);
  return result;
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

function passing(headers: Headers, facts: RequestFacts): string[] {
  const { acceptEncoding } = facts;
  let flat: string[] = [];
  let connection = "";
  headers.forEach((value, name) => {
    if (name === "connection") connection = value;
    else if (acceptEncoding !== undefined && name === "accept-encoding") return;
    else if (!oursToSay(name)) flat.push(name, value);
  });
  // Names come sorted, so what Connection lists may have passed before it was seen.
  if (namesHeaders(connection)) flat = without(flat, listed(connection));
  if (acceptEncoding !== undefined && acceptEncoding !== "") flat.push("accept-encoding", acceptEncoding);
  return flat;
}

/** Request headers that end here, because they are hop-by-hop, or because only the edge may say them. */
function oursToSay(name: string): boolean {
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
      return name === "proxy-connection" || name === "proxy-authorization";
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
