// The one loop that takes a request from node to node until one answers or none is left, by any transport (transport.ts). It
// alone decides that a request is sent again (retry.ts), pays for it, says which node is to blame, and counts how many nodes
// may have seen it; it owns the body, and gives back what was kept of it on every way out.
// Promises: one answer, or one failure. No node is tried twice, unless it may have come back meanwhile. What may have been
// seen goes to `sightings` nodes at most, and only if it is idempotent.
import { mayRetry } from "./retry.ts";
import type { Answer, Effects, Failed, Mover, Outgoing, Transport, Unanswered } from "./transport.ts";

/** How long a request waits for a node that went away to come back, ms. */
export const GRACE_MS = 5_000;
/** Without an answer for so long, another node is asked beside the first, ms, where the transport hedges. */
export const HEDGE_MS = 1_000;

export function forward<N, R extends Outgoing, A extends Answer>(
  transport: Transport<N, R, A>,
  request: R,
  effects: Effects,
): Promise<A | Unanswered> {
  return new Forwarding(transport, request, effects).run();
}

/** One try. */
interface Try<N, A> {
  readonly node: N;
  /** Epoch ms. */
  readonly startedAt: number;
  /** undefined while it is under way. */
  outcome: A | Failed | undefined;
  /** Resolves with the try itself. */
  readonly ended: Promise<Try<N, A>>;
}

/** One request. */
class Forwarding<N, R extends Outgoing, A extends Answer> implements Mover {
  readonly #transport: Transport<N, R, A>;
  readonly #request: R;
  readonly #effects: Effects;
  #order: Iterator<N> | undefined;
  /** Since the last time that a node may have come. */
  readonly #tried: N[] = [];
  /** Tries whose outcome the loop has not had: one, or two where one is hedged. */
  readonly #running: Try<N, A>[] = [];
  #attempts = 0;
  /** Nodes that may have seen it, those that have it now included. */
  #sightings = 0;
  /** The next try is paid for. The first one is free. */
  #paid = true;

  constructor(transport: Transport<N, R, A>, request: R, effects: Effects) {
    this.#transport = transport;
    this.#request = request;
    this.#effects = effects;
  }

  async run(): Promise<A | Unanswered> {
    const { body, sightings } = this.#request;
    const { retries, hedging } = this.#transport;
    let last: Failed | undefined;
    /** Another try is wanted. */
    let due = true;
    let hedgeMs = this.#mayHedge() ? HEDGE_MS : undefined;
    let silent: Try<N, A> | undefined;
    let graceUntil: number | undefined;
    retries.request(this.#effects.now());
    try {
      for (;;) {
        // Its beginning may have been let go while it waited for a node.
        if (due && body.replayable) {
          const now = this.#effects.now();
          const node = this.#next(now);
          if (node !== undefined) {
            if (this.#paid || retries.retry(now)) this.#start(node, now);
          } else if (this.#running.length === 0 && (last === undefined || last.lost === true)) {
            // No node was there, or it went away with the request: it may come back. One that said no will say it again.
            graceUntil ??= this.#transport.reconnecting(now) ? now + GRACE_MS : now;
            if (now < graceUntil && (await this.#transport.changed(graceUntil))) {
              this.#tried.length = 0;
              continue;
            }
          }
        }
        due = false;
        const [only] = this.#running;
        if (only === undefined) return { ok: false, last, sightings: this.#sightings };
        const ended = await (hedgeMs === undefined && this.#running.length === 1 ? only.ended : this.#first(hedgeMs));
        if (ended === undefined) {
          const latest = this.#running.at(-1) as Try<N, A>;
          // Where it has answered others since the last look it is alive, and this request merely slow: no second copy of it.
          if (hedging?.heardSince(latest.node, this.#effects.now() - HEDGE_MS) === true) continue;
          hedgeMs = undefined;
          silent = latest;
          due = this.#sightings < sightings;
          continue;
        }
        this.#running.splice(this.#running.indexOf(ended), 1);
        const outcome = ended.outcome as A | Failed;
        if (outcome.ok) {
          if (silent !== undefined) this.#tellSilent(silent);
          return outcome;
        }
        last = outcome;
        due = this.#mayRetry(outcome);
      }
    } finally {
      body.forget();
      // Answers that nobody waits for any more.
      for (const { ended } of this.#running)
        void ended.then(
          (late) => this.#discard(late),
          () => {},
        );
    }
  }

  /** A node that is silent is left where another one is well, the request may be repeated, and the repeat is paid for. */
  mayMove(): boolean {
    const now = this.#effects.now();
    if (!this.#transport.hasOther(this.#request, this.#tried, now) || !this.#mayRetry({ sent: "maybe" })) return false;
    this.#paid ||= this.#transport.retries.retry(now);
    return this.#paid;
  }

  #start(node: N, now: number): void {
    this.#paid = false;
    this.#tried.push(node);
    this.#attempts++;
    this.#sightings++;
    const pending = this.#transport.attempt(node, this.#request, now, this);
    const each: Try<N, A> = {
      node,
      startedAt: now,
      outcome: undefined,
      ended: pending.then((outcome) => this.#end(each, outcome)),
    };
    this.#running.push(each);
  }

  /** Also of a try whose outcome comes too late for the client. */
  #end(each: Try<N, A>, outcome: A | Failed): Try<N, A> {
    each.outcome = outcome;
    if (outcome.ok) this.#transport.succeeded(each.node, each.startedAt);
    else {
      if (outcome.sent === "never") this.#sightings--;
      else if (blamesNode(outcome)) this.#transport.failed(each.node, this.#request, this.#effects.now());
    }
    return each;
  }

  /** The next node in the order; where that is at its end it is asked for anew, since a node may have come meanwhile. */
  #next(now: number): N | undefined {
    for (;;) {
      const isNew = this.#order === undefined;
      this.#order ??= this.#transport.order(this.#request, now)[Symbol.iterator]();
      for (let each = this.#order.next(); each.done !== true; each = this.#order.next())
        if (!this.#tried.includes(each.value)) return each.value;
      this.#order = undefined;
      if (isNew) return undefined;
    }
  }

  #mayRetry({ sent, final }: Pick<Failed, "sent" | "final">): boolean {
    const { again, idempotent, body, sightings } = this.#request;
    return mayRetry({
      sent,
      final,
      again,
      idempotent,
      replayable: body.replayable,
      attempts: this.#attempts,
      sightings: this.#sightings,
      sightingsMax: sightings,
    });
  }

  /** GET and HEAD only: idempotent is not "may be reordered", and a second PUT may overwrite a later one. */
  #mayHedge(): boolean {
    const { method, again } = this.#request;
    if (again || (method !== "GET" && method !== "HEAD")) return false;
    return this.#transport.hedging?.possible(this.#request) ?? false;
  }

  /** The first try that ends; undefined where none does in time. */
  async #first(ms: number | undefined): Promise<Try<N, A> | undefined> {
    const ended: Promise<Try<N, A> | undefined>[] = this.#running.map((each) => each.ended);
    if (ms === undefined) return await Promise.race(ended);
    let stop: (() => void) | undefined;
    ended.push(new Promise((resolve) => (stop = this.#effects.later(ms, () => resolve(undefined)))));
    try {
      return await Promise.race(ended);
    } finally {
      stop?.();
    }
  }

  #tellSilent(silent: Try<N, A>): void {
    const { hedging } = this.#transport;
    if (silent.outcome !== undefined || hedging === undefined || hedging.heardSince(silent.node, silent.startedAt))
      return;
    hedging.silent(silent.node, this.#effects.now());
  }

  #discard({ outcome }: Try<N, A>): void {
    if (outcome?.ok === true) this.#transport.discard(outcome);
  }
}

/** A node that was lost, or whose endpoints break or hang; not one that was asked for what it cannot do. */
const blamesNode = ({ reason }: Failed): boolean =>
  reason === "endpoint-broke" || reason === "no-available-node" || reason === "timeout";
