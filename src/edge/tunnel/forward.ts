// The way of one request through a shard: head, body, node after node until one answers or none is left.
// The decision to retry is src/edge/forward/retry.ts's, the order is shard.ts's; this file only carries them out.
import { failure, type FailureReason } from "../http/failure.ts";
import { clientAcceptEncoding, FORWARDED, type Forwarded, targetOf } from "../http/forwarded.ts";
import { type Refused, requestHeaders, responseHeaders } from "../http/headers.ts";
import { UNSENT_HEADER } from "../http/internal.ts";
import { decideRetry, isIdempotent } from "../forward/retry.ts";
import { RetryBudget } from "../forward/retry-budget.ts";
import { type Match, sourceAllowed } from "../routing/match.ts";
import type { Answered, Failed } from "../forward/attempt.ts";
import { httpExchange } from "./http-exchange.ts";
import { noBody, requestBody } from "../forward/request-body.ts";
import type { PickContext } from "../../shared/balance/balancer.ts";
import { clientHash } from "../../shared/balance/hash.ts";
import { isTarget, type RequestHead } from "../../shared/wire/messages.ts";
import { AGENT_SIGHTINGS } from "../../shared/http/repeat.ts";
import type { Budget } from "../../shared/wire/session.ts";
import type { Shard, ShardNode } from "./shard.ts";

/** How long a request waits for a node's tunnel to come back, ms, and how many may. */
const GRACE_MS = 5_000;
const WAITERS_MAX = 1_000;
/** A tunnel that has been gone for longer is not "reconnecting". */
const RECONNECTING_MS = 30_000;

export class Forwarder {
  readonly #shard: Shard;
  readonly #memory: Budget;
  readonly #secret: string | undefined;
  readonly #onWaiting: () => void;
  readonly #retries = new RetryBudget();
  readonly #waiters = new Set<() => void>();

  /** `onWaiting` is called whenever a request begins to wait for a node. */
  constructor(shard: Shard, memory: Budget, secret: string | undefined, onWaiting: () => void) {
    this.#shard = shard;
    this.#memory = memory;
    this.#secret = secret;
    this.#onWaiting = onWaiting;
  }

  /** Some node became available: requests in their grace look again. */
  wake(): void {
    for (const resume of this.#waiters) resume();
    this.#waiters.clear();
  }

  async forward(request: Request, found: Match, from: Forwarded): Promise<Response> {
    const { route } = found;
    const { client, again } = from;
    if (!sourceAllowed(found, client)) return failure("source-refused", request);
    if (route.unavailable !== undefined) return unsent(route.unavailable.reason, request, route.unavailable.message);
    const head = this.#head(request, found, from);
    if ("reason" in head) return failure(head.reason, request, head);
    const idempotent = isIdempotent(head.method, request.headers);
    const body = request.body === null || head.websocket ? noBody : await requestBody(request, this.#memory);
    if (body === undefined) return clientClosed();
    const ctx: PickContext = { now: Date.now(), random: Math.random, client: clientHash(client) };
    this.#retries.request(ctx.now);
    const tried = new Set<ShardNode>();
    let attempts = 0;
    /** Times that backends may have seen it by now. */
    let sightings = 0;
    let graceUntil: number | undefined;
    let last: Failed | undefined;
    /** No node was there, or the one that had it went away: it may come back. One that answered "no" will say it again. */
    let awaitable = true;
    try {
      // Its beginning may have been let go while it waited for a node.
      while (body.replayable) {
        const now = Date.now();
        const node = this.#pick(found, { ...ctx, now }, tried);
        const link = node?.best;
        if (node === undefined || link === undefined) {
          graceUntil ??= this.#graceUntil(now);
          if (!awaitable || now >= graceUntil || !(await this.#wait(graceUntil - now))) break;
          tried.clear();
          continue;
        }
        tried.add(node);
        attempts++;
        const repeats = ({ sent, final }: Pick<Failed, "sent" | "final">, seen: number): boolean =>
          decideRetry({
            sent,
            final,
            again,
            idempotent,
            replayable: body.replayable,
            attempts,
            sightings: seen,
            budget: () => this.#retries.retry(Date.now()),
          }).retry;
        let moved = false;
        // Decided before it is left: a silent node may only be busy, and is better than none.
        const mayMove = (): boolean =>
          (moved = this.#shard.hasOther(route, tried, Date.now()) && repeats({ sent: "maybe" }, sightings + 1));
        const pending = httpExchange({ link, head, body, memory: this.#memory, request, now, mayMove });
        this.#onWaiting();
        const attempt = await pending.catch((error: unknown) => {
          // What a session throws for a head longer than any frame.
          if (error instanceof RangeError) return undefined;
          throw error;
        });
        if (attempt === undefined) return failure("headers-too-large", request);
        if (attempt.ok) {
          this.#shard.ejector.succeeded(node.name, now);
          return this.#answer(attempt, request);
        }
        if (attempt.reason === "client-gone") return clientClosed();
        if (blamesNode(attempt) && this.#shard.ejector.failed(node.name, now, this.#shard.connected))
          this.#shard.changed();
        last = attempt;
        awaitable = !node.links.includes(link);
        if (attempt.sent === "maybe") sightings++;
        if (!moved && !repeats(attempt, sightings)) break;
      }
    } finally {
      body.forget();
    }
    if (body.broken) return clientClosed();
    if (last === undefined) return unsent("no-available-node", request);
    const reason = reasonOf(last);
    return sightings > 0 || last.final === true ? failure(reason, request, detailOf(last)) : unsent(reason, request);
  }

  #head(request: Request, found: Match, { client, scheme, again, trusted }: Forwarded): RequestHead | Refused {
    const target = targetOf(request, this.#secret);
    // A node takes any other for a violation of the protocol.
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
    return {
      websocket: request.headers.get("upgrade")?.toLowerCase() === "websocket",
      service: found.route.service,
      port: found.route.port,
      client,
      method: request.method,
      target,
      sightings: again ? 1 : AGENT_SIGHTINGS,
      headers,
    };
  }

  /** Hands the answer on, or gives it back: what cannot be handed on is the backend's fault, and no node's. */
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

  #pick(found: Match, ctx: PickContext, tried: ReadonlySet<ShardNode>): ShardNode | undefined {
    for (const node of this.#shard.order(found.route, ctx)) {
      // One that takes no stream now (all of its ids are in use) is passed over: others may be free.
      if (!tried.has(node) && node.best !== undefined) return node;
    }
    return undefined;
  }

  #graceUntil(now: number): number {
    return now - this.#shard.lastLeft < RECONNECTING_MS ? now + GRACE_MS : now;
  }

  /** True where a node may have come; false where the time, or the room for waiters, is up. */
  #wait(ms: number): Promise<boolean> {
    if (this.#waiters.size >= WAITERS_MAX) return Promise.resolve(false);
    return new Promise((resolve) => {
      const resume = (): void => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(resume);
        resolve(false);
      }, ms);
      this.#waiters.add(resume);
    });
  }
}

/** Nobody reads it. */
const clientClosed = (): Response => new Response(null, { status: 499 });

/** A node that was lost, or whose endpoints break or hang; not one that was asked for what it cannot do. */
const blamesNode = ({ sent, reason }: Failed): boolean =>
  sent === "maybe" && (reason === "endpoint-broke" || reason === "no-available-node" || reason === "timeout");

/** Only what is said of the request, or its answer, is safe for strangers: addresses inside are not. */
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
