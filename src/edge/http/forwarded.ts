// What the listener proxy (src/host/proxy, on edges of one's own and in `npm start`) tells the Worker beside a request, and what
// stands in its place on Cloudflare. Every inbound header about the client can be forged but the one that the platform
// itself overwrites; the proxy proves itself with a secret of this run, and takes a client's own x-postern-* off.
import { z } from "zod";

/** Set by the listener proxy. Names in lower case. */
export const FORWARDED = {
  /** The run's secret; it is named after the setting FORWARDER_SECRET. */
  secret: "x-postern-forwarder",
  /** The client's address. */
  client: "x-postern-client",
  /** The Service port that the listener stands for, or ADMIN_LISTENER. */
  port: "x-postern-port",
  /** "https" where a trusted proxy says so; absent: http. */
  proto: "x-postern-proto",
  /** Accept-Encoding as the client sent it, which the platform overwrites; "-": it sent none. */
  acceptEncoding: "x-postern-accept-encoding",
  /** Path and query as they came, where a URL parser would change or refuse them: then the URL's own path is "/". */
  target: "x-postern-target",
  /**
   * Header values that are no ASCII, as encodeLines() writes them: names in lower case, every line of such a name, values as
   * byte strings (src/shared/http/bytes.ts). The same names stand in the head as they came, where workerd decodes them. On answers
   * of the TunnelObject too, from the Worker to the proxy.
   */
  raw: "x-postern-raw",
  /**
   * "1": a repeat after the edge's process was lost (src/shared/http/repeat.ts), or of the Worker on another cluster: it is not
   * repeated again. Believed from clients too, where there is no proxy: they may do without repeats.
   */
  again: "x-postern-again",
  /** "1": it came through a trusted proxy, whose X-Forwarded-* of its own (a user, a group) may pass. */
  trusted: "x-postern-trusted",
} as const;

/** [name, value, name, value, …] of byte strings in base64: workerd warns of every other header value that it writes. */
export const encodeLines = (lines: readonly string[]): string => btoa(JSON.stringify(lines));

const linesSchema = z.array(z.string()).refine((lines) => lines.length % 2 === 0);

/** Throws where it is not what encodeLines() writes. */
export const decodeLines = (text: string): readonly string[] => linesSchema.parse(JSON.parse(atob(text)));

/** The admin host's own port: API, tunnels, install manifests, and nothing of a tenant's. */
export const ADMIN_LISTENER = "admin";

export interface Forwarded {
  /** "" unknown. */
  readonly client: string;
  /** The listener's port; "admin" for the admin host's; undefined where the platform is Cloudflare: Host says it. */
  readonly port: number | typeof ADMIN_LISTENER | undefined;
  readonly scheme: "http" | "https";
  /** It is a repeat, which must not be repeated again: FORWARDED.again. */
  readonly again: boolean;
  readonly trusted: boolean;
}

/**
 * Who asks, by which door. Undefined where this edge has a listener proxy (`secret` is set) and the request did not come
 * through it: then nothing may be answered. Without a secret, CF-Connecting-IP is the platform's word.
 */
export function forwarded(
  request: { readonly headers: Headers; readonly url: string },
  secret?: string,
): Forwarded | undefined {
  const { headers, url } = request;
  if (secret === undefined)
    return {
      client: headers.get("cf-connecting-ip") ?? "",
      port: undefined,
      scheme: url.startsWith("https:") ? "https" : "http",
      again: headers.has(FORWARDED.again),
      trusted: false,
    };
  const shown = headers.get(FORWARDED.secret);
  if (shown === null || !equalInConstantTime(shown, secret)) return undefined;
  const port = headers.get(FORWARDED.port);
  return {
    client: headers.get(FORWARDED.client) ?? "",
    port: port === ADMIN_LISTENER ? port : Number(port),
    scheme: headers.get(FORWARDED.proto) === "https" ? "https" : "http",
    again: headers.has(FORWARDED.again),
    trusted: headers.has(FORWARDED.trusted),
  };
}

/** Path and query: as the client sent them where the proxy says so, else the URL's. Only after forwarded() has believed it. */
export function targetOf(request: { readonly headers: Headers; readonly url: string }, secret?: string): string {
  const raw = secret === undefined ? null : request.headers.get(FORWARDED.target);
  if (raw !== null) return raw;
  // The runtime makes this text anew each time that it is asked for.
  const { url } = request;
  const at = url.indexOf("/", 8);
  return at < 0 ? "/" : url.slice(at);
}

/**
 * What the client itself sent as Accept-Encoding, "" for nothing: the platform, and `wrangler dev`, put their own in its
 * place. undefined: the header is true as it is.
 */
export function clientAcceptEncoding(
  request: { readonly headers: Headers; readonly cf?: unknown },
  secret?: string,
): string | undefined {
  if (secret === undefined) {
    // Reading `cf` parses all of it, and where there is no such header nothing was put in its place.
    if (!request.headers.has("accept-encoding")) return undefined;
    const cf = request.cf as { readonly clientAcceptEncoding?: unknown } | null | undefined;
    return typeof cf?.clientAcceptEncoding === "string" ? cf.clientAcceptEncoding : undefined;
  }
  const sent = request.headers.get(FORWARDED.acceptEncoding);
  if (sent === null) return undefined;
  return sent === "-" ? "" : sent;
}

/** Takes as long as `secret` is, whatever `shown` is. An empty secret equals nothing. */
function equalInConstantTime(shown: string, secret: string): boolean {
  let difference = shown.length ^ secret.length;
  for (let i = 0; i < secret.length; i++) difference |= shown.charCodeAt(i) ^ secret.charCodeAt(i);
  return difference === 0 && secret.length > 0;
}
