// The contract between the loop (loop.ts) and the two ways to a node: tunnel (src/edge/tunnel/transport.ts) and direct
// (src/edge/direct/transport.ts). A transport knows nodes and makes one try; it never decides whether there is another.
// Nothing here, nor in this folder, knows a platform: time, chance and timers are arguments.

/** What the loop, and what is below it, asks of the world. */
export interface Effects {
  /** Epoch ms. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Calls once after `ms`; what it returns stops that. */
  readonly later: (ms: number, call: () => void) => () => void;
}

/** A request on its way, as far as the loop is concerned; each transport adds its own. */
export interface Outgoing {
  readonly method: string;
  /** RFC 9110's idempotent methods, and what has an Idempotency-Key. */
  readonly idempotent: boolean;
  /** It is a repeat already, of the listener proxy: what may have been seen is not sent again. */
  readonly again: boolean;
  /** The loop owns it, and gives it back on every way out. */
  readonly body: Resendable;
  /** How many nodes may see it, this transport's and this cluster's share of src/shared/http/repeat.ts; at least 1. */
  readonly sightings: number;
}

/** A body, as far as the loop is concerned. */
export interface Resendable {
  /** It can be sent from its beginning (still, or again). */
  readonly replayable: boolean;
  /** The client broke it off. */
  readonly broken: boolean;
  /** It will not be sent again: gives back what was kept for that. May be called more than once. */
  forget(): void;
}

/** The backend answered. Whoever does not hand the answer on to the client discards it: its stream waits for a reader. */
export interface Answer {
  readonly ok: true;
}

export interface Failed {
  readonly ok: false;
  /** "never": no backend saw any of it, so it may go elsewhere whatever its method. */
  readonly sent: "never" | "maybe";
  /** The node lives and says what became of it: src/shared/http/repeat.ts leaves nothing to repeat here. */
  readonly final?: boolean;
  /** The node went away with it, and may be back in a moment. */
  readonly lost?: boolean;
  readonly reason:
    | "no-endpoints"
    | "no-available-node"
    | "endpoint-broke"
    | "bad-gateway-answer"
    | "bad-request"
    | "headers-too-large"
    | "overloaded"
    | "timeout"
    | "refused"
    | "client-gone";
  /** For the log and the owner, never for strangers. */
  readonly detail: string;
}

/** No answer came of it. */
export interface Unanswered {
  readonly ok: false;
  /** The last failure; undefined: there was no node to try. */
  readonly last: Failed | undefined;
  /** How many nodes may have seen it. 0: any other cluster may have it, by either transport. */
  readonly sightings: number;
}

/** Asked by a try that waits for a silent node. */
export interface Mover {
  /**
   * True where the try should give the node up and fail as "maybe": another node is there, and the request may be sent to it,
   * which is paid for by then. False: a silent node may only be busy, and is better than none.
   */
  mayMove(): boolean;
}

/** What bounds the sum of retries: RetryBudget (retry-budget.ts), one a cluster. */
export interface Retries {
  /** A request came in. */
  request(now: number): void;
  /** Takes one retry; false: none is left now. */
  retry(now: number): boolean;
}

/** Nodes of one cluster, and how one of them is tried. N: a node. R: a request. A: an answer. */
export interface Transport<N, R extends Outgoing, A extends Answer> {
  readonly retries: Retries;
  /**
   * Nodes that can take the request when they are yielded, best first. One that is full, draining or gone is not yielded; one
   * that is not well comes last. Read on for each try from where it was left. A node may come twice.
   */
  order(request: R, now: number): Iterable<N>;
  /** Whether a node that is well could be tried beside those. */
  hasOther(request: R, tried: readonly N[], now: number): boolean;
  /** One try. Never rejects for what a node or a client does. */
  attempt(node: N, request: R, now: number, mover: Mover): Promise<A | Failed>;
  /** Nobody wants this answer. */
  discard(answer: A): void;
  /** The ejector's part: the node answered a try of that time, */
  succeeded(node: N, startedAt: number): void;
  /** or is to blame for a failure of now. */
  failed(node: N, request: R, now: number): void;
  /** Whether a node that went away may be back in a moment. */
  reconnecting(now: number): boolean;
  /** Resolves with true when a node may have come; with false at `deadline`, or where there is no room to wait. */
  changed(deadline: number): Promise<boolean>;
  /** Where nothing tells that a node is silent, another one is asked beside it. Absent: never. */
  readonly hedging?: Hedging<N, R>;
}

export interface Hedging<N, R> {
  /** Whether there is another node in any case, and the request can be sent to two at once. */
  possible(request: R): boolean;
  /** Whether the node has answered anybody after `since`: it is alive, and the request merely slow. */
  heardSince(node: N, since: number): boolean;
  /** The node was silent while another one, asked later, answered. */
  silent(node: N, now: number): void;
}
