// Writes down which nodes one request was given to, and what came of each, for the access log. Where nobody reads that, no request
// has one.
import type { AnsweredBy } from "../../shared/wire/messages.ts";
import { LOGGED_TRIES_MAX, type LogTry } from "../../shared/control/access-log.ts";
import type { Answer, Effects, Failed } from "./transport.ts";

interface Noted {
  readonly node: string;
  readonly startedAt: number;
  endedAt?: number;
  outcome?: string;
  by?: AnsweredBy | undefined;
}

export class Trace {
  readonly #now: Effects["now"];
  readonly #arrivedAt: number;
  readonly #tries: Noted[] = [];

  constructor(now: Effects["now"]) {
    this.#now = now;
    this.#arrivedAt = now();
  }

  /** Hands `pending` on as it is, and notes its outcome. `said`: what an answer says of itself. */
  async follow<A extends Answer>(
    node: string,
    pending: Promise<A | Failed>,
    said: (answer: A) => { readonly status: number; readonly by?: AnsweredBy | undefined },
  ): Promise<A | Failed> {
    const each: Noted = { node, startedAt: this.#now() };
    if (this.#tries.length < LOGGED_TRIES_MAX) this.#tries.push(each);
    const outcome = await pending;
    each.endedAt = this.#now();
    if (outcome.ok) {
      const { status, by } = said(outcome);
      each.outcome = String(status);
      each.by = by;
    } else each.outcome = outcome.reason;
    return outcome;
  }

  get tries(): readonly LogTry[] {
    const now = this.#now();
    return this.#tries.map(({ node, startedAt, endedAt = now, outcome = "unanswered", by }) => ({
      node,
      afterMs: startedAt - this.#arrivedAt,
      ms: endedAt - startedAt,
      outcome,
      ...by,
    }));
  }
}
