// The way of one request through a shard: head, body, node after node until one answers or none is left.
// The decision to retry is src/http/retry.ts's, the order is shard.ts's; this file only carries them out.
import { failure, type FailureReason } from "../http/failure.ts";
import { clientAcceptEncoding, type Forwarded, targetOf } from "../http/forwarded.ts";
import { requestHeaders, responseHeaders } from "../http/headers.ts";
import { UNSENT_HEADER } from "../http/internal.ts";
import { decideRetry, isIdempotent } from "../http/retry.ts";
import { RetryBudget } from "../health/budget.ts";
import { type Match, sourceAllowed } from "../routing/match.ts";
import type { Attempt, Failed } from "../transport/attempt.ts";
import { httpExchange } from "../transport/http-exchange.ts";
import { noBody, requestBody } from "../transport/request-body.ts";
import { webSocketExchange } from "../transport/websocket-exchange.ts";
import type { PickContext } from "../wire/balancer.ts";
import { clientHash } from "../wire/hash.ts";
import type { RequestHead } from "../wire/messages.ts";
import { AGENT_SIGHTINGS } from "../wire/repeat.ts";
import type { Budget } from "../wire/session.ts";
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

  async forward(request: Request, found: Match, { client, scheme }: Forwarded): Promise<Response> {
    const { route } = found;
    if (!sourceAllowed(found, client)) return failure("source-refused", request);
    if (route.unavailable !== undefined) return unsent(route.unavailable.reason, request, route.unavailable.message);
    const websocket = request.headers.get("upgrade")?.toLowerCase() === "websocket";
    const head: RequestHead = {
      websocket,
      service: route.service,
      port: route.port,
      client,
      method: request.method,
      target: targetOf(request, this.#secret),
      sightings: AGENT_SIGHTINGS,
      headers: requestHeaders(request.headers, {
        client,
        proto: scheme,
        host: request.headers.get("host") ?? found.host,
        port: found.port,
        acceptEncoding: clientAcceptEncoding(request, this.#secret),
      }),
    };
    const idempotent = isIdempotent(head.method, request.headers);
    const body = request.body === null || websocket ? noBody : await requestBody(request, this.#memory);
    const ctx: PickContext = { now: Date.now(), random: Math.random, client: clientHash(client) };
    this.#retries.request(ctx.now);
    const tried = new Set<ShardNode>();
    let graceUntil: number | undefined;
    let last: Failed | undefined;
    /** No node was there, or the one that had it went away: it may come back. One that answered "no" will say it again. */
    let awaitable = true;
    for (;;) {
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
      const again = (sent: Failed["sent"]): boolean =>
        decideRetry({
          sent,
          idempotent,
          replayable: body.replayable,
          attempts: tried.size,
          budget: () => this.#retries.retry(Date.now()),
        }).retry;
      let moved = false;
      // Decided before it is left: a silent node may only be busy, and is better than none.
      const mayMove = (): boolean => (moved = this.#shard.hasOther(route, tried, Date.now()) && again("maybe"));
      const options = { link, head, request, now, mayMove };
      const pending = websocket ? webSocketExchange(options) : httpExchange({ ...options, body });
      this.#onWaiting();
      const attempt = await pending.catch((error: unknown) => {
        // What a session throws for a head longer than any frame.
        if (error instanceof RangeError) return undefined;
        throw error;
      });
      if (attempt === undefined) return failure("headers-too-large", request);
      if (attempt.ok) {
        this.#shard.ejector.succeeded(node.name, now);
        return answer(attempt, request);
      }
      if (attempt.reason === "client-gone") return new Response(null, { status: 499 });
      if (attempt.sent === "maybe" && this.#shard.ejector.failed(node.name, now, this.#shard.size))
        this.#shard.changed();
      last = attempt;
      awaitable = !node.links.includes(link);
      if (!moved && !again(attempt.sent)) break;
    }
    body.forget();
    if (last === undefined) return unsent("no-available-node", request);
    return last.sent === "never" ? unsent(reasonOf(last), request) : failure(reasonOf(last), request);
  }

  #pick(found: Match, ctx: PickContext, tried: ReadonlySet<ShardNode>): ShardNode | undefined {
    for (const node of this.#shard.order(found.route, ctx)) if (!tried.has(node)) return node;
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

function answer(attempt: Attempt & { ok: true }, request: Request): Response {
  const headers = responseHeaders(attempt.headers);
  if (headers === undefined || attempt.status < 200 !== (attempt.webSocket !== undefined) || attempt.status > 599)
    return failure("bad-gateway-answer", request);
  if (attempt.webSocket !== undefined)
    return new Response(null, { status: 101, headers, webSocket: attempt.webSocket });
  // "manual": the bytes are encoded already, as Content-Encoding says.
  return new Response(attempt.body, { status: attempt.status, headers, encodeBody: "manual" });
}

function unsent(reason: FailureReason, request: Request, detail?: string): Response {
  const response = failure(reason, request, detail === undefined ? {} : { detail });
  response.headers.set(UNSENT_HEADER, reason);
  return response;
}

function reasonOf(failed: Failed): FailureReason {
  if (failed.reason === "refused") return "not-programmed";
  return failed.reason === "client-gone" ? "endpoint-broke" : failed.reason;
}
