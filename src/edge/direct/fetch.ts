// One try of transport direct: a fetch to node address : NodePort. A fetch that fails does not tell whether the backend saw
// the request, so every failure here is "maybe sent". Host is the platform's to write; the client's is in X-Forwarded-Host.
import { FORWARDED } from "../http/forwarded.ts";
import { directResponseHeaders, namesHeaders } from "../http/headers.ts";
import { GENERATION_HEADER, UNSENT_HEADER } from "../http/internal.ts";
import type { Failed } from "../forward/transport.ts";
import type { DirectTry } from "./passing.ts";

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
  // workerd's own word for an answer that is no HTTP, or no handshake: a server's has at least one header.
  if (status === 502 && headers.keys().next().done === true) return broken(response);
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
