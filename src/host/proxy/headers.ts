// What the listener proxy changes in a head, as pure functions over raw headers ([name, value, name, value, …], in
// the order and spelling of the wire, values as byte strings: src/shared/http/bytes.ts): everything else crosses byte for byte. Must
// not decide what tenants may send; the Worker strips and sets their headers (src/edge/http).
import { type ADMIN_LISTENER, decodeLines, encodeLines, FORWARDED } from "../../edge/http/forwarded.ts";
import { isAscii } from "../../shared/http/bytes.ts";

/** The local edge's own headers. The Worker believes them only beside the run's secret; a client's are dropped. */
export interface ListenerFacts {
  readonly secret: string;
  readonly client: string;
  /** The Service port that this listener stands for, or that it is the admin host's. */
  readonly port: number | typeof ADMIN_LISTENER;
  /** It came through a trusted proxy, and asked that one with https. */
  readonly trusted?: boolean;
  readonly secure?: boolean;
  /** As it came, where the request line does not say it. */
  readonly target?: string | undefined;
  /** In Host's place. */
  readonly host?: string | undefined;
}

// Meant for one hop only (RFC 9110 §7.6.1). Expect is answered here, by node:http; framing is each hop's own.
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
]);

export function requestHeaders(raw: readonly string[], facts: ListenerFacts): string[] {
  const headers: string[] = [];
  const listed = listedByConnection(raw);
  let acceptEncoding = "-";
  let cookieAt: number | undefined;
  let ascii = true;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    const value = raw[i + 1] ?? "";
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || listed?.has(lower)) continue;
    if (isOurs(lower)) continue;
    if (lower === "cookie") {
      // workerd would join the lines with a comma, which is a part of the cookie then (RFC 6265 §5.4, RFC 9113 §8.2.3).
      if (cookieAt !== undefined) {
        headers[cookieAt] += `; ${value}`;
        ascii &&= isAscii(value);
        continue;
      }
      cookieAt = headers.length + 1;
    }
    if (lower === "accept-encoding") {
      acceptEncoding = acceptEncoding === "-" ? value : `${acceptEncoding}, ${value}`;
      continue;
    }
    headers.push(name, lower === "host" ? (facts.host ?? value) : value);
    ascii &&= isAscii(value);
  }
  if (!ascii) headers.push(FORWARDED.raw, rawValues(headers));
  // wrangler recodes bodies as Accept-Encoding has it, and leaves them alone where there is none; then it tells the
  // Worker of its own wishes. So what the client accepts travels beside it; "-" = it sent none.
  headers.push(FORWARDED.secret, facts.secret, FORWARDED.client, facts.client, FORWARDED.port, String(facts.port));
  headers.push(FORWARDED.acceptEncoding, acceptEncoding);
  if (facts.target !== undefined) headers.push(FORWARDED.target, facts.target);
  if (facts.secure) headers.push(FORWARDED.proto, "https");
  if (facts.trusted) headers.push(FORWARDED.trusted, "1");
  return headers;
}

/**
 * What a client must not say: that it is the listener proxy; what the platform in front of the Worker says (CF-*: its address,
 * the request's id); what steers wrangler's runtime (MF-*; and X-Forwarded-Proto, by which it makes the URL https).
 */
function isOurs(lower: string): boolean {
  return (
    lower.startsWith("x-postern-") ||
    lower.startsWith("cf-") ||
    lower.startsWith("mf-") ||
    lower === "x-forwarded-proto"
  );
}

/** An answer's raw headers as undici has them, one string a byte string. Throws where it has none. */
export function byteStrings(raw: unknown): string[] {
  if (!Array.isArray(raw)) throw new Error("undici hands over raw headers as an array");
  return raw.map((part: string | Buffer) => (typeof part === "string" ? part : part.toString("latin1")));
}

export function responseHeaders(raw: readonly string[]): string[] {
  const headers: string[] = [];
  const listed = listedByConnection(raw);
  let replaced: readonly string[] | undefined;
  let length: number | undefined;
  let disposition = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    const value = raw[i + 1] ?? "";
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || listed?.has(lower)) continue;
    if (lower === FORWARDED.raw) {
      replaced = decodeLines(value);
      continue;
    }
    if (lower === "content-length") length = headers.length;
    else if (lower === "content-disposition") disposition = true;
    headers.push(name, value);
  }
  // node:http re-encodes a Content-Disposition that comes after a Content-Length.
  if (disposition && length !== undefined) headers.push(...headers.splice(length, 2));
  return replaced === undefined ? headers : replaceLines(headers, replaced);
}

/** FORWARDED.raw for these lines: all of each name of which one is no ASCII. */
function rawValues(headers: readonly string[]): string {
  const names = new Set<string>();
  for (let i = 0; i + 1 < headers.length; i += 2)
    if (!isAscii(headers[i + 1] ?? "")) names.add(headers[i]?.toLowerCase() ?? "");
  const lines: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const lower = headers[i]?.toLowerCase() ?? "";
    if (names.has(lower)) lines.push(lower, headers[i + 1] ?? "");
  }
  return encodeLines(lines);
}

/** `lines` instead of all lines of their names. */
function replaceLines(headers: readonly string[], lines: readonly string[]): string[] {
  const names = new Set<string>();
  for (let i = 0; i < lines.length; i += 2) names.add(lines[i] ?? "");
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? "";
    if (!names.has(name.toLowerCase())) kept.push(name, headers[i + 1] ?? "");
  }
  // Before Content-Length, for the sake of Content-Disposition.
  return [...lines, ...kept];
}

/** Names that `Connection` declares as its own hop's: `Connection: close, X-Trace` => x-trace. */
function listedByConnection(raw: readonly string[]): Set<string> | undefined {
  let listed: Set<string> | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (raw[i]?.toLowerCase() !== "connection") continue;
    for (const token of (raw[i + 1] ?? "").split(",")) {
      const name = token.trim().toLowerCase();
      // A client must not be able to take Host away from its own request.
      if (name !== "" && name !== "host" && name !== "content-length") (listed ??= new Set()).add(name);
    }
  }
  return listed;
}
