// One try of transport direct: a fetch to node address : NodePort. A fetch that fails does not tell whether the backend saw
// the request, so every failure here is "maybe sent". Host is the platform's to write; the client's is in X-Forwarded-Host.
// What a fetch would not pass on as it came is not tried at all: passesAsItCame().
import { FORWARDED } from "../http/forwarded.ts";
import { directResponseHeaders, namesHeaders } from "../http/headers.ts";
import { GENERATION_HEADER, UNSENT_HEADER } from "../http/internal.ts";
import type { Failed } from "./attempt.ts";

export interface DirectTry {
  /** "http://10.0.0.1:30080/path?query" */
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: BodyInit | null;
}

/**
 * False where a fetch would refuse the request or change it: a GET or HEAD with a body, and a path or query that a URL parser
 * writes in another way, such as /a/../b.
 */
export function passesAsItCame({ method, body }: Request, target: string): boolean {
  if (body !== null && (method === "GET" || method === "HEAD")) return false;
  // A fetch drops what follows a "#", though its URL has it.
  if (!target.startsWith("/") || target.includes("#")) return false;
  if (!SUSPECT.test(target)) return true;
  const url = `http://h${target}`;
  return URL.canParse(url) && new URL(url).href === url;
}

/** Dots that may be segments, and all that a URL parser might escape, turn or drop. */
const SUSPECT = /[^!$%&()*+,\-./:;=?@_~0-9A-Za-z]|\/\.|\/%2e/i;

/** The platform must not answer from its cache; a `cache` option would write headers of its own. */
const NO_CACHE = { cacheTtl: -1 };

/** No signal: the platform cancels it with the request that it belongs to. */
export async function directExchange({ url, method, headers, body }: DirectTry): Promise<Response | Failed> {
  try {
    return await fetch(url, { method, headers, body, redirect: "manual", cf: NO_CACHE });
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { ok: false, sent: "maybe", reason: "endpoint-broke", detail };
  }
}

/** What a backend might say in the edge's name, or what ends here; the platform takes all other hop-by-hop headers off. */
const OURS = [
  GENERATION_HEADER,
  UNSENT_HEADER,
  FORWARDED.raw,
  "x-postern-reason",
  "x-postern-request-id",
  "proxy-authenticate",
  "proxy-connection",
];

/**
 * The answer as the client gets it: as it is, WebSocket and all, unless it has a header that must not pass. undefined: it is
 * no answer that can be given (a status that HTTP does not have, a 101 that nobody asked for).
 */
export function directAnswer(response: Response): Response | undefined {
  const { status, statusText, headers, webSocket } = response;
  if (status > 599 || (status < 200 && webSocket === null)) return broken(response);
  if (!OURS.some((name) => headers.has(name)) && !namesHeaders(headers.get("connection") ?? "")) return response;
  try {
    return new Response(response.body, { status, statusText, webSocket, headers: directResponseHeaders(headers) });
  } catch {
    // A body where there may be none: 205.
    return broken(response);
  }
}

/** Its body is given up, so that its connection is free. */
function broken({ body, webSocket }: Response): undefined {
  void body?.cancel().catch(() => {});
  webSocket?.accept();
  webSocket?.close(1011);
  return undefined;
}
