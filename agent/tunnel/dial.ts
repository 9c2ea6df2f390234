// Opens the WebSocket to one shard. The only place that knows its URL, its credentials and its masking.
import { isIP } from "node:net";
import { WebSocket } from "ws";
import { unbracketed } from "../../src/shared/net/host-port.ts";
import { MESSAGE_MAX } from "../../src/shared/wire/limits.ts";

export interface DialTarget {
  /** Base URL of the edge's API. */
  readonly edge: URL;
  readonly cluster: string;
  readonly shard: number;
  readonly token: string;
}

const HANDSHAKE_MS = 10_000;

export function dial(target: DialTarget): WebSocket {
  const url = new URL(
    `api/v1/clusters/${encodeURIComponent(target.cluster)}/tunnel/${target.shard}`,
    withSlash(target.edge),
  );
  url.protocol = target.edge.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(url, {
    headers: { authorization: `Bearer ${target.token}` },
    perMessageDeflate: false,
    maxPayload: MESSAGE_MAX,
    handshakeTimeout: HANDSHAKE_MS,
    skipUTF8Validation: true,
    ...(needsNoMask(target.edge) ? { generateMask: zeroMask } : {}),
  });
}

/** README.md, Masking. */
function needsNoMask(edge: URL): boolean {
  if (process.env["POSTERN_MASK"] === "random") return false;
  return edge.protocol === "https:" || isLoopback(edge.hostname);
}

function isLoopback(hostname: string): boolean {
  const host = unbracketed(hostname);
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

function zeroMask(mask: Buffer): void {
  mask.fill(0);
}

function withSlash(base: URL): URL {
  return base.pathname.endsWith("/") ? base : new URL(`${base.pathname}/`, base);
}
