// Whether the node's rules keep up with the cluster: unhealthy once the oldest change that is not applied yet has waited too long.
// A quiet cluster stays healthy, however long ago the last sync was. Told of each step by the plan applier; no timer, no effect.

export interface SyncHealthOptions {
  /** A change that waits longer than this, ms, makes the node unhealthy. kube-proxy: twice its sync period. */
  readonly limitMs: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export class SyncHealth {
  readonly #options: SyncHealthOptions;
  /** When the oldest change came that no apply has begun with. */
  #waiting: number | undefined;
  /** The same of those that the apply under way is about. */
  #underWay: number | undefined;
  #lastQueued: number | undefined;
  #lastUpdated: number | undefined;

  constructor(options: SyncHealthOptions) {
    this.#options = options;
  }

  /** The end of the last sync that succeeded, ms since 1970. */
  get lastUpdated(): number | undefined {
    return this.#lastUpdated;
  }

  get lastQueued(): number | undefined {
    return this.#lastQueued;
  }

  /** The rules were synced once, by this process. */
  get hasSynced(): boolean {
    return this.#lastUpdated !== undefined;
  }

  get healthy(): boolean {
    const oldest = this.#underWay ?? this.#waiting;
    return oldest === undefined || this.#options.now() - oldest <= this.#options.limitMs;
  }

  queued(): void {
    this.#lastQueued = this.#options.now();
    this.#waiting ??= this.#lastQueued;
  }

  began(): void {
    this.#underWay ??= this.#waiting;
    this.#waiting = undefined;
  }

  ended(done: boolean): void {
    // What came meanwhile waits on; what failed waits since it first came.
    if (!done) this.#waiting = this.#underWay ?? this.#waiting;
    else this.#lastUpdated = this.#options.now();
    this.#underWay = undefined;
  }
}
