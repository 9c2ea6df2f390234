// Looks up the DNS names of exposed ExternalNames on this node, again and again: DNS tells nobody when it changes.
// Delivers addresses, sorted; whether they may be dialled is the plan's decision. A name that cannot be looked up keeps
// its last addresses: a resolver that fails for a minute must not take a NAS off the air.
import { lookup as systemLookup } from "node:dns/promises";

export type Lookup = (name: string) => Promise<readonly string[]>;

/** The system's own resolver: /etc/hosts, mDNS and search domains count, as for any program on the node. */
const systemResolver: Lookup = async (name) =>
  (await systemLookup(name, { all: true, order: "ipv4first" })).map(({ address }) => address);

export interface Failure {
  readonly name: string;
  readonly why: string;
}

export const REFRESH_MS = 30_000;
const ADDRESSES_MAX = 16;

export class Names {
  readonly #lookup: Lookup;
  readonly #onChange: () => void;
  readonly #onFailures: (failures: readonly Failure[]) => void;
  #names: readonly string[] = [];
  #addresses: ReadonlyMap<string, readonly string[]> = new Map();
  #timer: NodeJS.Timeout | undefined;
  #round = 0;

  /** `onFailures`: after each round, all that cannot be looked up now; none where all is well. */
  constructor(
    onChange: () => void,
    onFailures: (failures: readonly Failure[]) => void,
    lookup: Lookup = systemResolver,
  ) {
    this.#onChange = onChange;
    this.#onFailures = onFailures;
    this.#lookup = lookup;
  }

  get addresses(): ReadonlyMap<string, readonly string[]> {
    return this.#addresses;
  }

  /** Replaces what is looked up. `names` sorted, each once. */
  watch(names: readonly string[]): void {
    if (names.join() === this.#names.join()) return;
    this.#names = names;
    void this.#refresh();
  }

  stop(): void {
    this.#names = [];
    this.#round++;
    clearTimeout(this.#timer);
  }

  async #refresh(): Promise<void> {
    clearTimeout(this.#timer);
    const round = ++this.#round;
    const failures: Failure[] = [];
    const found = await Promise.all(
      this.#names.map(async (name) => [name, await this.#addressesOf(name, failures)] as const),
    );
    // A later watch() has overtaken this one.
    if (round !== this.#round) return;
    this.#onFailures(failures);
    const before = JSON.stringify([...this.#addresses]);
    this.#addresses = new Map(found);
    if (this.#names.length > 0) this.#timer = setTimeout(() => void this.#refresh(), REFRESH_MS);
    if (JSON.stringify([...this.#addresses]) !== before) this.#onChange();
  }

  async #addressesOf(name: string, failures: Failure[]): Promise<readonly string[]> {
    try {
      return [...new Set(await this.#lookup(name))].sort().slice(0, ADDRESSES_MAX);
    } catch (error) {
      failures.push({ name, why: (error as Error).message });
      return this.#addresses.get(name) ?? [];
    }
  }
}
