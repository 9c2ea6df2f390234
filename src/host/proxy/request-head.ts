// Whether a request's head can be passed on, and under which target and host: RFC 9112 §2 and §3, judged before anything
// else sees it, so that workerd's and wrangler's URL parsers never get what they would refuse or read as something else.
// Pure.
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { isIPv6 } from "node:net";
import type { FailureReason } from "../../edge/http/failure.ts";
import { ADMIN_LISTENER } from "../../edge/http/forwarded.ts";

export interface RequestLine {
  readonly method: string;
  /** As it stood on the request line; the parser has let visible ASCII pass alone. */
  readonly url: string;
  /** "1.1" */
  readonly version: string;
}

export interface Accepted {
  /** What goes on the request line to the edge: path and query. */
  readonly path: string;
  /** The target as it came, where a URL parser would change or refuse it; then `path` is "/". */
  readonly target?: string;
  /** What stands in Host's place, where the target was an absolute URL. */
  readonly host?: string;
}

export interface Refused {
  readonly reason: FailureReason;
  /** Safe for strangers. */
  readonly detail?: string;
}

// RFC 3986, less the apostrophe of a query, which URL parsers encode.
const plainTarget = /^\/(?!\/)[\w\-.~!$&'()*+,;=:@%/]*(?:\?[\w\-.~!$&()*+,;=:@%/?]*)?$/;
const dotSegment = /^[^?]*\/(?:\.|%2e){1,2}(?:[/?]|$)/i;
const visible = /^[\x21-\x7e]+$/;
const absolute = /^https?:\/\/([^/?#]*)([^#]*)/i;
const hostAndPort = /^([\w.-]+|\[[0-9a-f:.]+\])(?::(\d{0,5}))?$/i;

/** `raw`: the head's lines, [name, value, name, value, …]. */
export function checkHead(
  { method, url, version }: RequestLine,
  raw: readonly string[],
  port: number | typeof ADMIN_LISTENER,
): Accepted | Refused {
  if (version !== "1.1" && version !== "1.0") return { reason: "unsupported-version" };
  let host: string | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    if (name.length === 4 && name.toLowerCase() === "host") {
      if (host !== undefined) return bad("The request has more than one Host header.");
      host = raw[i + 1] ?? "";
    } else if (name.length === 17 && name.toLowerCase() === "transfer-encoding") {
      if (raw[i + 1]?.trim().toLowerCase() !== "chunked")
        return { reason: "unsupported-request", detail: "The only transfer coding that is understood is chunked." };
    }
  }
  if (host === undefined) return bad("The request has no Host header, so nobody knows which site it is for.");
  if (!isHost(host)) return bad("The Host header is not a host name with or without a port.");

  if (plainTarget.test(url) && !dotSegment.test(url)) return { path: url };
  if (!visible.test(url)) return bad("The request target has a character that no URL may have.");
  let target = url;
  let named: { host?: string } = {};
  if (!url.startsWith("/") && url !== "*") {
    const [, authority = "", rest = ""] = absolute.exec(url) ?? [];
    if (!isHost(authority)) return bad("The request target is neither a path nor an http URL with a host.");
    named = { host: authority };
    target = rest.startsWith("/") ? rest : `/${rest}`;
    if (method === "OPTIONS" && rest === "") target = "*";
    if (plainTarget.test(target) && !dotSegment.test(target)) return { path: target, ...named };
  }
  if (target === "*" && method !== "OPTIONS") return bad("Only OPTIONS may have the target *.");
  // The API's routes are read from the URL alone.
  if (port === ADMIN_LISTENER) return bad("The API's paths have neither dot segments nor characters beyond RFC 3986.");
  return { path: "/", target, ...named };
}

/** A host name or address, with or without a port, that every URL parser accepts. */
function isHost(text: string): boolean {
  const [, name = "", port = ""] = hostAndPort.exec(text) ?? [];
  if (name === "" || text.length > 255 || Number(port) > 65_535) return false;
  if (name.startsWith("[")) return isIPv6(name.slice(1, -1));
  // "a.256" looks like an address to them, and is none.
  return URL.canParse(`http://${text}`);
}

const bad = (detail: string): Refused => ({ reason: "bad-request", detail });

/**
 * `Upgrade: h2c` and the like are offers that may be ignored: those requests are served as they are. So is a handshake with
 * a body, which no WebSocket has: what follows an upgrade is no body any more.
 */
export function isWebSocket({ method, headers }: IncomingMessage): boolean {
  return method === "GET" && headers.upgrade?.toLowerCase() === "websocket" && !hasBody(headers);
}

export function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"]) > 0;
}
