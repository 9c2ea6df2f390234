// One try of transport direct: a fetch to node address : NodePort. A fetch that fails does not tell whether the backend saw
// the request, so every failure here is "maybe sent". Host is the platform's to write; the client's is in X-Forwarded-Host.
import { directRequestHeaders, directResponseHeaders, type Refused, type RequestFacts } from "../http/headers.ts";
import { GENERATION_HEADER, UNSENT_HEADER } from "../http/internal.ts";
import type { Failed } from "./attempt.ts";

export interface DirectTry {
  /** "http://10.0.0.1:30080/path?query" */
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: BodyInit | null;
}

/** Headers once per request, not per try. */
export const directHeaders = (request: Request, facts: RequestFacts): Headers | Refused =>
  directRequestHeaders(request.headers, facts);

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
const OURS = [GENERATION_HEADER, UNSENT_HEADER, "x-postern-reason", "proxy-authenticate"];

/** The answer as the client gets it: as it is, WebSocket and all, unless it has a header that must not pass. */
export function directAnswer(response: Response): Response {
  if (response.webSocket !== null || !OURS.some((name) => response.headers.has(name))) return response;
  return new Response(response.body, { status: response.status, headers: directResponseHeaders(response.headers) });
}
