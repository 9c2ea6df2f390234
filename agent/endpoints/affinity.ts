// ClientIP affinity of one Service port: which endpoint a client was last given. Pure but for its own table; `now`
// passed in. Bounded: at the limit the client that was quiet longest is forgotten. Lost at restart, and that is harmless:
// a client's first pick is by rendezvous hash of (client, endpoint key), so any node, at any time, picks the same pod.

/** Clients remembered per Service port (about 100 bytes each). */
export const AFFINITY_CLIENTS_MAX = 16_384;

export class Affinity {
  readonly #timeoutMs: number;
  /** Least recently used first: Map keeps insertion order. */
  readonly #clients = new Map<string, { readonly endpoint: string; readonly usedAt: number }>();

  constructor(timeoutSeconds: number) {
    this.#timeoutMs = timeoutSeconds * 1000;
  }

  /** Key of the endpoint this client was given within the timeout, which counts from its latest use. */
  get(client: string, now: number): string | undefined {
    const entry = this.#clients.get(client);
    if (entry === undefined) return undefined;
    if (now - entry.usedAt < this.#timeoutMs) return entry.endpoint;
    this.#clients.delete(client);
    return undefined;
  }

  set(client: string, endpoint: string, now: number): void {
    this.#clients.delete(client);
    this.#clients.set(client, { endpoint, usedAt: now });
    if (this.#clients.size <= AFFINITY_CLIENTS_MAX) return;
    for (const oldest of this.#clients.keys()) {
      this.#clients.delete(oldest);
      break;
    }
  }
}
