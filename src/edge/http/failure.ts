// What a client gets where no backend's answer can be given: status, machine-readable reason, request id; for browsers a
// plain page, for others application/problem+json (RFC 9457). Read by strangers: it says nothing about addresses inside, and
// what the owner can do in words that mean nothing to others.
import { FORWARDED } from "./forwarded.ts";

export type FailureReason = keyof typeof failures;

export interface Failure {
  readonly status: 400 | 403 | 404 | 408 | 413 | 414 | 417 | 431 | 501 | 502 | 503 | 504 | 505 | 508;
  readonly title: string;
  /** Words for the visitor. */
  readonly meaning: string;
  /** Words for the Service's owner: what to do. */
  readonly owner: string;
  /** Seconds; all 503 have it. */
  readonly retryAfter?: number;
}

/** docs/reference.md is made of it. */
export const failures = {
  "bad-request": {
    status: 400,
    title: "Bad request",
    meaning: "The request is not valid HTTP, or has something in it that cannot be passed on as it came.",
    owner: "The detail says what. No server was asked, and none is to blame.",
  },
  "not-a-listener": {
    status: 403,
    title: "Not a listener",
    meaning: "This is the edge's inner port, which answers its own listeners alone.",
    owner: "Ask a listener's port: the one that kubectl get service shows.",
  },
  "unsupported-version": {
    status: 505,
    title: "HTTP version not supported",
    meaning: "This port speaks HTTP/1.0 and HTTP/1.1. HTTP/2 without TLS (also gRPC) and HTTP/0.9 are not served.",
    owner: "Let the client use HTTP/1.1. gRPC needs a proxy in front that speaks it, or gRPC-Web.",
  },
  "unsupported-request": {
    status: 501,
    title: "Not supported",
    meaning: "The request asks for something that this load balancer does not do.",
    owner: "The detail says what: CONNECT, or a transfer coding other than chunked. No server was asked.",
  },
  "expectation-failed": {
    status: 417,
    title: "Expectation failed",
    meaning: "The request expects something other than 100-continue.",
    owner: "Let the client leave the Expect header out. No server was asked.",
  },
  "request-timeout": {
    status: 408,
    title: "Request too slow",
    meaning: "The request's head did not arrive in time.",
    owner: "A head may take 60 seconds. The usual cause is a connection that somebody keeps open on purpose.",
  },
  "edge-away": {
    status: 502,
    title: "The edge broke off",
    meaning:
      "The load balancer's own process ended or broke off before there was an answer. The request may have been carried out.",
    owner: "The edge's terminal, and the log files that it names, say why it ended.",
  },
  loop: {
    status: 508,
    title: "Loop",
    meaning: "The request has come through this load balancer before.",
    owner: "An endpoint of this Service is the edge itself, or leads back to it: see kubectl get endpointslices.",
  },
  "no-such-listener": {
    status: 404,
    title: "No such listener",
    meaning: "Nothing is published at this host name and port.",
    owner:
      "Compare host name and port with the Service's: kubectl get service -A -o wide. A new Service takes some seconds; the Service's conditions say what is wrong with it.",
  },
  "source-refused": {
    status: 403,
    title: "Source refused",
    meaning: "This site does not accept requests from your network.",
    owner: "The Service lists the networks it accepts in spec.loadBalancerSourceRanges.",
  },
  "headers-too-large": {
    status: 431,
    title: "Headers too large",
    meaning: "The request's headers are larger than the load balancer accepts.",
    owner:
      "All names and values together may have about 250 KiB, 64 KiB at an edge of one's own; oversized cookies are the usual cause.",
  },
  "body-too-large": {
    status: 413,
    title: "Body too large",
    meaning: "The request is larger than the load balancer accepts.",
    owner: "The limit is the edge's plan's: 100 MB on free plans. Send large files in parts.",
  },
  "endpoint-broke": {
    status: 502,
    title: "The server broke off",
    meaning: "The server ended the connection before it had answered. The request may have been carried out.",
    owner:
      "See the pods' logs and restarts: kubectl get pods; kubectl logs --previous. A server that speaks TLS or HTTP/2 alone on this port breaks off as well: let it offer plain HTTP/1.1 and point targetPort there.",
  },
  "bad-gateway-answer": {
    status: 502,
    title: "Bad answer from the server",
    meaning: "The server answered with something that is not valid HTTP.",
    owner: "See what the pod sends: a header with a line break, or another protocol than HTTP on this port?",
  },
  "no-endpoints": {
    status: 503,
    title: "No endpoint is ready",
    meaning: "The site is published, but none of its servers is ready.",
    owner:
      "See the Service's conditions and its pods' readiness: kubectl describe service; kubectl get endpointslices.",
    retryAfter: 5,
  },
  "no-eligible-nodes": {
    status: 503,
    title: "No node may be used",
    meaning: "The site is published, but no machine is allowed to take requests for it.",
    owner:
      "The Service's condition postern.dev/NoEligibleNodes names the nodes, what excludes each, and the command that includes it.",
    retryAfter: 30,
  },
  "no-available-node": {
    status: 503,
    title: "No node is available",
    meaning: "The site is published, but none of its machines can be reached now.",
    owner: "See whether the agents run and are connected: kubectl get pods -A -l app.kubernetes.io/name=postern-agent.",
    retryAfter: 5,
  },
  "not-programmed": {
    status: 503,
    title: "Not ready yet",
    meaning: "The load balancer has not taken over this site's configuration yet.",
    owner: "It takes some seconds. If it lasts, the Service's condition postern.dev/Programmed says why.",
    retryAfter: 2,
  },
  overloaded: {
    status: 503,
    title: "Overloaded",
    meaning: "The site has more requests than it can take now.",
    owner: "Add pods or nodes; the edge's node list shows what each has in flight.",
    retryAfter: 1,
  },
  timeout: {
    status: 504,
    title: "The server took too long",
    meaning: "The server did not answer in time. The request may have been carried out.",
    owner: "See the pods' logs and load.",
  },
} as const satisfies Record<string, Failure>;

export interface FailureOptions {
  /** More than the reason tells; safe for strangers. */
  readonly detail?: string;
  /** Absent: the platform's id of the request, or a new one. */
  readonly requestId?: string;
}

/** The answer to `request`; without a body for HEAD. Its headers may be changed by the caller. */
export function failure(
  reason: FailureReason,
  request: { readonly method: string; readonly headers: Headers },
  { detail, requestId = idOf(request.headers) }: FailureOptions = {},
): Response {
  const { status, headers, body } = failureParts(reason, request.headers.get("accept") ?? "", requestId, detail);
  return new Response(request.method === "HEAD" ? null : body, { status, headers });
}

/** What failure() answers, in parts, for the listener proxy, which writes its answers itself. */
export function failureParts(
  reason: FailureReason,
  accept: string,
  requestId: string,
  detail?: string,
): { readonly status: number; readonly headers: Record<string, string>; readonly body: string } {
  const found: Failure = failures[reason];
  const html = accept.includes("text/html");
  const headers: Record<string, string> = {
    "content-type": html ? "text/html; charset=utf-8" : "application/problem+json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-postern-reason": reason,
    "x-postern-request-id": requestId,
  };
  if (html) headers["content-security-policy"] = "default-src 'none'; style-src 'unsafe-inline'";
  if (found.retryAfter !== undefined) headers["retry-after"] = String(found.retryAfter);
  const body = (html ? page : problem)(reason, found, detail ?? found.meaning, requestId);
  return { status: found.status, headers, body };
}

/** Cloudflare sets CF-Ray. Behind a listener proxy a client may have written it, so it is not used there. */
const idOf = (headers: Headers): string =>
  (headers.has(FORWARDED.secret) ? null : headers.get("cf-ray")) ?? crypto.randomUUID();

function problem(reason: string, { status, title, owner }: Failure, detail: string, requestId: string): string {
  return `${JSON.stringify({ type: `tag:postern.dev,2026:${reason}`, title, status, detail, reason, remedy: owner, requestId })}\n`;
}

function page(reason: string, { status, title, owner }: Failure, detail: string, requestId: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${status} ${escaped(title)}</title>
<style>body{font:1.1em/1.5 system-ui,sans-serif;max-width:36em;margin:10vh auto;padding:0 1em}small{color:#666}</style>
<h1>${escaped(title)}</h1>
<p>${escaped(detail)}</p>
<p><b>Is this your site?</b> ${escaped(owner)}</p>
<p><small>${status} ${escaped(reason)} · request ${escaped(requestId)}</small></p>
</html>
`;
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
