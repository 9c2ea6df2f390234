// What the listener forwarder changes in a head, as pure functions over raw headers ([name, value, name, value, …], in
// the order and spelling of the wire): everything else crosses byte for byte. Must not decide what tenants may send;
// the Worker strips and sets their headers (src/http).

/** The local edge's own headers. The Worker believes them only beside the run's secret; a client's are dropped. */
export interface ForwarderFacts {
  readonly secret: string;
  readonly client: string;
  /** The Service port that this listener stands for, and the one it was opened at (they differ where it is remapped). */
  readonly port: number;
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
    if (lower.startsWith("x-postern-") || lower === "cf-connecting-ip") continue;
    if (lower === "accept-encoding") acceptEncoding = acceptEncoding === "-" ? value : `${acceptEncoding}, ${value}`;
    headers.push(name, lower === "host" ? hostOfListener(value, facts) : value);
  }
  // wrangler overwrites Accept-Encoding, so the client's own travels beside it; "-" = it sent none.
  headers.push("x-postern-forwarder", facts.secret, "x-postern-client", facts.client);
  headers.push("x-postern-accept-encoding", acceptEncoding);
  return headers;
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
  if (facts.port === facts.opened || !host.endsWith(suffix)) return host;
  return host.slice(0, -suffix.length) + (facts.port === 80 ? "" : `:${facts.port}`);
}
