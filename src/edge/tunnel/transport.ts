// Transport tunnel: a shard's nodes as the loop (src/edge/forward/loop.ts) sees them, and one try over the best connection of a
// node.
import { RetryBudget } from "../forward/retry-budget.ts";
import type { RequestBody } from "../forward/request-body.ts";
import type { Trace } from "../forward/trace.ts";
import type { Effects, Mover, Outgoing, Transport } from "../forward/transport.ts";
import { Waiting } from "../forward/waiting.ts";
import type { Route } from "../routing/table.ts";
import type { RequestHead } from "../../shared/wire/messages.ts";
import type { Budget } from "../../shared/wire/session.ts";
import type { Answered, Attempt } from "./attempt.ts";
import { httpExchange } from "./http-exchange.ts";
import type { Shard, ShardNode } from "./shard.ts";

/** Once the last node to leave has been gone for this time, ms, no request waits for it to come back. */
const RECONNECTING_MS = 30_000;

export interface TunnelRequest extends Outgoing {
  readonly route: Route;
  readonly head: RequestHead;
  readonly body: RequestBody;
  /** Hash of the client's address. */
  readonly client: number;
  /** The client's connection. */
  readonly connection: { readonly signal: AbortSignal };
  /** undefined: nobody reads the access log. */
  readonly trace: Trace | undefined;
}

const saidOf = ({ status, by }: Answered): Pick<Answered, "status" | "by"> => ({ status, by });

export class TunnelTransport implements Transport<ShardNode, TunnelRequest, Answered> {
  readonly retries = new RetryBudget();
  readonly #shard: Shard;
  readonly #memory: Budget;
  readonly #onWaiting: () => void;
  readonly #waiting: Waiting;

  /** `onWaiting` is called whenever a request begins to wait for a node's answer. */
  constructor(shard: Shard, memory: Budget, effects: Effects, onWaiting: () => void) {
    this.#shard = shard;
    this.#memory = memory;
    this.#onWaiting = onWaiting;
    this.#waiting = new Waiting(effects);
  }

  /** A node may have become available: requests that wait for one look again. */
  wake(): void {
    this.#waiting.wake();
  }

  order({ route, client }: TunnelRequest, now: number): Iterable<ShardNode> {
    return this.#shard.order(route, client, now);
  }

  hasOther({ route }: TunnelRequest, tried: readonly ShardNode[], now: number): boolean {
    return this.#shard.hasOther(route, tried, now);
  }

  attempt({ best, name }: ShardNode, request: TunnelRequest, now: number, mover: Mover): Promise<Attempt> {
    if (best === undefined) throw new Error("order() yields only nodes that take a stream");
    const { head, body, connection, trace } = request;
    const pending = httpExchange({ link: best, head, body, memory: this.#memory, request: connection, now, mover });
    this.#onWaiting();
    return trace === undefined ? pending : trace.follow(name, pending, saidOf);
  }

  discard({ exchange }: Answered): void {
    exchange.discard("another node has answered");
  }

  succeeded({ name }: ShardNode, startedAt: number): void {
    this.#shard.ejector.succeeded(name, startedAt);
  }

  failed({ name }: ShardNode, _request: TunnelRequest, now: number): void {
    if (this.#shard.ejector.failed(name, now, this.#shard.connected)) this.#shard.changed();
  }

  reconnecting(now: number): boolean {
    return now - this.#shard.lastLeft < RECONNECTING_MS;
  }

  changed(deadline: number): Promise<boolean> {
    return this.#waiting.wait(deadline);
  }
}
