// What transport direct can pass on as it came. A fetch refuses a body for GET and HEAD, its URL parser writes some paths in
// another way, and workerd repeats some requests by itself: all these go by tunnel, and no node is blamed for them. Pure.
import { isIdempotentMethod } from "../../shared/http/repeat.ts";

export interface DirectTry {
  /** "http://10.0.0.1:30080/path?query" */
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: BodyInit | null;
}

/**
 * False where a fetch would refuse the request, change it, or send it more often than repeat.ts allows: a GET or HEAD with a
 * body; a path or query that a URL parser writes in another way, such as /a/../b; a PUT, DELETE, OPTIONS or TRACE without a body.
 */
export function passesAsItCame(request: Request, target: string): boolean {
  const empty = request.body === null || request.headers.get("content-length") === "0";
  if (mayHaveBody(request) ? empty && isIdempotentMethod(request.method) : !empty) return false;
  // A fetch drops what follows a "#", though its URL has it.
  if (!target.startsWith("/") || target.includes("#")) return false;
  if (!SUSPECT.test(target)) return true;
  const url = `http://h${target}`;
  return URL.canParse(url) && new URL(url).href === url;
}

/** Whether a fetch takes a body for it. */
export const mayHaveBody = ({ method }: Request): boolean => method !== "GET" && method !== "HEAD";

/** Dots that may be segments, and all that a URL parser might escape, turn or drop. */
const SUSPECT = /[^!$%&()*+,\-./:;=?@_~0-9A-Za-z]|\/\.|\/%2e/i;
