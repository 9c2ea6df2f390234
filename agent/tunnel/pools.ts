// Kept connections to endpoints, one undici Pool for each address:port. A pool goes the moment its endpoint leaves the
// plan or turns terminating: a reused connection that closes just then is a request that may have been sent.
import { Pool } from "undici";
import { hostPort } from "../../src/shared/net/host-port.ts";
import {
  answerBeforeWriteError,
  connector,
  resetIsNoEnd,
  skipContinue,
  tellNothingSent,
} from "../../src/shared/upstream/connector.ts";
import { probeTcp } from "../net/probe-tcp.ts";

/** Milliseconds. */
export interface Patience {
  /** For a connection. A LAN answers at once; a host that lost power never does, and the next endpoint is waiting. */
  readonly connect: number;
  /** For an answer's head, a WebSocket's too. Exports, reports, long polls and cold starts take minutes. */
  readonly head: number;
  /** For silence within a body. Server-Sent Events need more than the minute that cloud load balancers usually allow. */
  readonly idle: number;
}
const PATIENCE: Patience = { connect: 2_000, head: 900_000, idle: 900_000 };
/** The longest head of an answer, in bytes. The edge checks what it passes on; this bounds what the agent holds. */
export const HEAD_BYTES = 128 * 1024;

export class Pools {
  readonly patience: Patience;
  readonly #connect: ReturnType<typeof connector>;
  readonly #pools = new Map<string, Pool>();
  readonly #probes = new Map<string, Promise<boolean>>();

  constructor(patience = PATIENCE) {
    this.patience = patience;
    const options = { timeout: patience.connect, noDelay: true };
    this.#connect = connector(options, tellNothingSent, answerBeforeWriteError, skipContinue, resetIsNoEnd);
  }

  get(address: string, port: number): Pool {
    const key = hostPort(address, port);
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = new Pool(`http://${key}`, {
        connections: null,
        pipelining: 1,
        connect: this.#connect,
        headersTimeout: this.patience.head,
        bodyTimeout: this.patience.idle,
        maxHeaderSize: HEAD_BYTES,
      });
      this.#pools.set(key, pool);
    }
    return pool;
  }

  /**
   * Whether the host answers a new connection in time. A refusal is an answer, too: the process may be ending, and still finish what
   * it has accepted. Callers that ask at the same time share one connection.
   */
  reaches(address: string, port: number): Promise<boolean> {
    const key = `${address} ${port}`;
    let probe = this.#probes.get(key);
    if (probe === undefined) {
      probe = probeTcp(address, port)
        .then((answer) => answer !== "unclear")
        .finally(() => this.#probes.delete(key));
      this.#probes.set(key, probe);
    }
    return probe;
  }

  /** Requests in flight finish; idle connections close now. */
  retire(addressAndPort: string): void {
    const pool = this.#pools.get(addressAndPort);
    if (pool === undefined) return;
    this.#pools.delete(addressAndPort);
    pool.close().catch(() => {});
  }

  destroy(): void {
    for (const pool of this.#pools.values()) pool.destroy().catch(() => {});
    this.#pools.clear();
  }
}
