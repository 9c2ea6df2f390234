// Who the client is. Every inbound header about it can be forged but the one that the platform itself overwrites; a local
// edge has no such platform, so there a listener forwarder says it, and proves itself with a secret of this run.

/** The client's address, or "" where nobody trustworthy says it. With `forwarderSecret` CF-Connecting-IP is never believed. */
export function clientAddress(headers: Headers, forwarderSecret?: string): string {
  if (forwarderSecret === undefined) return headers.get("cf-connecting-ip") ?? "";
  const shown = headers.get(FORWARDER_HEADER);
  if (shown === null || !equalInConstantTime(shown, forwarderSecret)) return "";
  return headers.get(CLIENT_HEADER) ?? "";
}

/**
 * What the client itself sent as Accept-Encoding, "" for nothing: the platform, and `wrangler dev`, put their own in its
 * place. undefined: the header is true as it is.
 */
export function clientAcceptEncoding(
  request: { readonly headers: Headers; readonly cf?: unknown },
  forwarderSecret?: string,
): string | undefined {
  if (forwarderSecret === undefined) {
    // Reading `cf` parses all of it, and where there is no such header nothing was put in its place.
    if (!request.headers.has("accept-encoding")) return undefined;
    const cf = request.cf as { readonly clientAcceptEncoding?: unknown } | null | undefined;
    return typeof cf?.clientAcceptEncoding === "string" ? cf.clientAcceptEncoding : undefined;
  }
  const sent = request.headers.get(ACCEPT_ENCODING_HEADER);
  if (sent === null) return undefined;
  return sent === "-" ? "" : sent;
}

const FORWARDER_HEADER = "x-postern-forwarder";
const CLIENT_HEADER = "x-postern-client";
/** "-": the client sent none. */
const ACCEPT_ENCODING_HEADER = "x-postern-accept-encoding";

/** Takes as long as `secret` is, whatever `shown` is. An empty secret equals nothing. */
function equalInConstantTime(shown: string, secret: string): boolean {
  let difference = shown.length ^ secret.length;
  for (let i = 0; i < secret.length; i++) difference |= shown.charCodeAt(i) ^ secret.charCodeAt(i);
  return difference === 0 && secret.length > 0;
}
