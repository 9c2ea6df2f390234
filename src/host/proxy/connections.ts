// The clients' connections: how many there may be, and one request at a time on each. node:http hands over all requests that
// a client pipelines at once; here they wait for the answers before them, as they would at any server.
import type { Socket } from "node:net";
import type { FailureReason } from "../../edge/http/failure.ts";
import { parseAddress, sourceOf } from "../../shared/net/ranges.ts";
import type { Limits } from "./limits.ts";

/** The exchange that a connection is busy with. */
export interface Occupant {
  /** The client has sent its FIN. */
  clientEnded(): void;
  /** What the client sends is not the body that it announced. */
  requestBroke(reason: FailureReason, detail: string | undefined): void;
  readonly requestIsWhole: boolean;
}

export class Connection {
  occupant: Occupant | undefined;
  /** What comes from the client is thrown away: it was no HTTP, or belongs to a request that is answered already. */
  broken = false;
  #ended = false;
  #busy = false;
  readonly #waiting: (() => void)[] = [];

  get busy(): boolean {
    return this.#busy;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Calls `start` when it is its turn; who was started calls next() when its answer is out. */
  take(start: () => void): void {
    if (this.#busy) this.#waiting.push(start);
    else {
      this.#busy = true;
      start();
    }
  }

  occupy(occupant: Occupant): void {
    this.occupant = occupant;
    if (this.#ended) occupant.clientEnded();
  }

  next(): void {
    this.occupant = undefined;
    const start = this.#waiting.shift();
    this.#busy = start !== undefined;
    start?.();
  }

  ended(): void {
    this.#ended = true;
    this.occupant?.clientEnded();
  }

  closed(): void {
    this.#waiting.length = 0;
  }
}

export class Connections {
  readonly #limits: Limits;
  readonly #trusts: (address: string) => boolean;
  readonly #of = new WeakMap<object, Connection>();
  readonly #bySource = new Map<string, number>();
  #count = 0;

  constructor(limits: Limits, trusts: (address: string) => boolean = () => false) {
    this.#limits = limits;
    this.#trusts = trusts;
  }

  of(socket: object): Connection | undefined {
    return this.#of.get(socket);
  }

  /** Counts it until it closes; says why it may not be, where it may not. */
  admit(socket: Socket): string | undefined {
    const source = limitedSource(socket.remoteAddress ?? "", this.#trusts);
    const before = source === undefined ? 0 : (this.#bySource.get(source) ?? 0);
    if (this.#count >= this.#limits.connections) return `${this.#count} connections are open, which is the limit`;
    if (before >= this.#limits.perSource)
      return `${source} has ${before} connections open, which is the limit of one source`;
    const connection = new Connection();
    this.#of.set(socket, connection);
    this.#count++;
    if (source !== undefined) this.#bySource.set(source, before + 1);
    socket.once("close", () => {
      connection.closed();
      this.#count--;
      if (source === undefined) return;
      const left = (this.#bySource.get(source) ?? 1) - 1;
      if (left > 0) this.#bySource.set(source, left);
      else this.#bySource.delete(source);
    });
    socket.once("end", () => connection.ended());
    return undefined;
  }
}

/** What shares one limit. Undefined: no limit, because many may stand behind it. */
export function limitedSource(remote: string, trusts: (address: string) => boolean): string | undefined {
  const address = parseAddress(remote);
  if (address === undefined || address.range() === "loopback" || trusts(address.toString())) return undefined;
  return sourceOf(remote);
}
