// The way of one request through a shard: its head and body for a node, the loop (src/edge/forward/loop.ts), and the answer or
// the refusal that came of it.
import { failure, type FailureReason } from "../http/failure.ts";
import { clientAcceptEncoding, FORWARDED, type Forwarded, targetOf } from "../http/forwarded.ts";
import { type Refused, requestHeaders, responseHeaders } from "../http/headers.ts";
import { UNSENT_HEADER } from "../http/internal.ts";
import { forward } from "../forward/loop.ts";
import { noBody } from "../forward/request-body.ts";
import { isIdempotent } from "../forward/retry.ts";
import type { Trace } from "../forward/trace.ts";
import type { Effects, Failed } from "../forward/transport.ts";
import { type Match, sourceAllowed } from "../routing/match.ts";
import { clientHash } from "../../shared/balance/hash.ts";
import { isTarget, type RequestHead } from "../../shared/wire/messages.ts";
import { AGENT_SIGHTINGS, EDGE_SIGHTINGS } from "../../shared/http/repeat.ts";
import type { Budget } from "../../shared/wire/session.ts";
import type { Answered } from "./attempt.ts";
import { clientBody } from "./client-body.ts";
import type { TunnelTransport } from "./transport.ts";

export class Forwarder {
  readonly #transport: TunnelTransport;
  readonly #memory: Budget;
  readonly #effects: Effects;
  readonly #secret: string | undefined;

  constructor(transport: TunnelTransport, memory: Budget, effects: Effects, secret: string | undefined) {
    this.#transport = transport;
    this.#memory = memory;
    this.#effects = effects;
    this.#secret = secret;
  }

  /** `trace`: for the access log, where somebody reads it. */
  async forward(request: Request, found: Match, from: Forwarded, trace: Trace | undefined): Promise<Response> {
    const { route } = found;
    const { client, again } = from;
    if (!sourceAllowed(found, client)) return failure("source-refused", request);
    if (route.unavailable !== undefined) return unsent(route.unavailable.reason, request, route.unavailable.message);
    const head = this.#head(request, found, from, trace !== undefined);
    if ("reason" in head) return failure(head.reason, request, head);
    const hasBody = request.body !== null && !head.websocket;
    const body = hasBody ? await clientBody(request, this.#memory, this.#effects) : noBody;
    if (body === undefined) return clientClosed();
    const outgoing = {
      method: head.method,
      idempotent: isIdempotent(head.method, request.headers),
      again,
      body,
      sightings: EDGE_SIGHTINGS,
      route,
      head,
      client: clientHash(client),
      connection: request,
      trace,
    };
    const outcome = await forward(this.#transport, outgoing, this.#effects);
    if (outcome.ok) return this.#answer(outcome, request);
    const { last, sightings } = outcome;
    if (body.broken || last?.reason === "client-gone") return clientClosed();
    if (last === undefined) return unsent("no-available-node", request);
    const reason = reasonOf(last);
    return sightings > 0 || last.final === true ? failure(reason, request, detailOf(last)) : unsent(reason, request);
  }

  #head(
    request: Request,
    found: Match,
    { client, scheme, again, trusted }: Forwarded,
    isTraced: boolean,
  ): RequestHead | Refused {
    const target = targetOf(request, this.#secret);
    // A node would take any other target for a violation of the protocol, and end the connection.
    if (!isTarget(target)) return { reason: "bad-request", detail: "The path has a space or a control character." };
    const headers = requestHeaders(request.headers, {
      client,
      proto: scheme,
      host: request.headers.get("host") ?? found.host,
      port: found.port,
      acceptEncoding: clientAcceptEncoding(request, this.#secret),
      raw: this.#secret === undefined ? undefined : request.headers.get(FORWARDED.raw),
      trusted,
      edge: this.#secret,
    });
    if ("reason" in headers) return headers;
    const head: RequestHead = {
      websocket: request.headers.get("upgrade")?.toLowerCase() === "websocket",
      service: found.route.service,
      port: found.route.port,
      client,
      method: request.method,
      target,
      sightings: again ? 1 : AGENT_SIGHTINGS,
      headers,
    };
    return isTraced ? { ...head, traced: true } : head;
  }

  /** Hands the answer on. One that cannot be handed on is discarded: it is the backend's fault, and no node is blamed. */
  #answer(answered: Answered, request: Request): Response {
    const { status, body, webSocket, exchange } = answered;
    const headers = responseHeaders(answered.headers, this.#secret !== undefined);
    if ("reason" in headers) {
      exchange.discard(headers.detail);
      return failure("bad-gateway-answer", request, headers);
    }
    try {
      // "manual": the bytes are encoded already, as Content-Encoding says.
      if (webSocket === undefined) return new Response(body, { status, headers, encodeBody: "manual" });
      return new Response(null, { status: 101, headers, webSocket });
    } catch (error) {
      console.error(`an answer of status ${status} cannot be handed on`, error);
      exchange.discard("the answer cannot be handed on");
      return failure("bad-gateway-answer", request);
    }
  }
}

/** The client has gone, so nobody reads this. */
const clientClosed = (): Response => new Response(null, { status: 499 });

/** Strangers are told what is wrong with their own request, and nothing else: other details may name addresses inside. */
const detailOf = ({ reason, detail }: Failed): { detail?: string } => (reason === "bad-request" ? { detail } : {});

function unsent(reason: FailureReason, request: Request, detail?: string): Response {
  const response = failure(reason, request, detail === undefined ? {} : { detail });
  response.headers.set(UNSENT_HEADER, reason);
  return response;
}

function reasonOf(failed: Failed): FailureReason {
  if (failed.reason === "refused") return "not-programmed";
  return failed.reason === "client-gone" ? "endpoint-broke" : failed.reason;
}
