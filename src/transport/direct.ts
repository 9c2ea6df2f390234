// One try of transport direct: a fetch to node address : NodePort. A fetch that fails does not tell whether the backend saw
// the request, so every failure here is "maybe sent". Host is the platform's to write; the client's is in X-Forwarded-Host.
import { directRequestHeaders, directResponseHeaders, type RequestFacts } from "../http/headers.ts";
import type { Failed } from "./attempt.ts";

export interface DirectTry {
  /** "http://10.0.0.1:30080/path?query" */
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: BodyInit | null;
}

/** Headers once per request, not per try. */
export const directHeaders = (request: Request, facts: RequestFacts): Headers =>
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

/** The answer as the client gets it. A 101 keeps its WebSocket; everything else streams through untouched. */
export function directAnswer(response: Response): Response {
  const headers = directResponseHeaders(response.headers);
  if (response.webSocket !== null) return new Response(null, { status: 101, headers, webSocket: response.webSocket });
  return new Response(response.body, { status: response.status, headers });
}
