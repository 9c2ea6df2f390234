// What the listener forwarder changes in a head, as pure functions over raw headers ([name, value, name, value, …], in
// the order and spelling of the wire): everything else crosses byte for byte. Must not decide what tenants may send;
// the Worker strips and sets their headers (src/http).

import { ADMIN_LISTENER, FORWARDED } from "../http/forwarded.ts";

/** The local edge's own headers. The Worker believes them only beside the run's secret; a client's are dropped. */
export interface ForwarderFacts {
  readonly secret: string;
  readonly client: string;
  /** The Service port that this listener stands for (or that it is the admin host's), and the one it was opened at (they differ where it is remapped). */
  readonly port: number | typeof ADMIN_LISTENER;
  readonly opened: number;
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

export function requestHeaders(raw: readonly string[], facts: ForwarderFacts): string[] {
  const headers: string[] = [];
  const listed = listedByConnection(raw);
  let acceptEncoding = "-";
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    const value = raw[i + 1] ?? "";
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || listed?.has(lower)) continue;
    if (isOurs(lower)) continue;
    if (lower === "accept-encoding") acceptEncoding = acceptEncoding === "-" ? value : `${acceptEncoding}, ${value}`;
    else headers.push(name, lower === "host" ? hostOfListener(value, facts) : value);
  }
  // wrangler recodes bodies as Accept-Encoding has it, and leaves them alone where there is none; then it tells the
  // Worker of its own wishes. So what the client accepts travels beside it; "-" = it sent none.
  headers.push(FORWARDED.secret, facts.secret, FORWARDED.client, facts.client, FORWARDED.port, String(facts.port));
  headers.push(FORWARDED.acceptEncoding, acceptEncoding);
  return headers;
}

/**
 * What a client must not say: that it is the forwarder; its own address; what steers wrangler's runtime (MF-*; and
 * X-Forwarded-Proto, by which it makes the URL https). Of the last the Worker would believe nothing anyway.
 */
function isOurs(lower: string): boolean {
  return (
    lower.startsWith("x-postern-") ||
    lower.startsWith("mf-") ||
    lower === "cf-connecting-ip" ||
    lower === "x-forwarded-proto"
  );
}

export function responseHeaders(raw: readonly string[]): string[] {
  const headers: string[] = [];
  const listed = listedByConnection(raw);
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    const value = raw[i + 1] ?? "";
    const lower = name.toLowerCase();
    if (!hopByHop.has(lower) && !listed?.has(lower)) headers.push(name, value);
  }
  return headers;
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

/** Port 80 opened at 8080: "shop.localhost:8080" => "shop.localhost", the name under which the edge has it. */
function hostOfListener(host: string, facts: ForwarderFacts): string {
  const suffix = `:${facts.opened}`;
  if (facts.port === ADMIN_LISTENER || facts.port === facts.opened || !host.endsWith(suffix)) return host;
  return host.slice(0, -suffix.length) + (facts.port === 80 ? "" : `:${facts.port}`);
}
