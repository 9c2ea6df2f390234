// Elements that several Service ports may ask for: the same external IP and port, or an endpoint that two Services share. Each is in
// the kernel once, and whose value it has does not depend on the order of changes: the first by name has it. Pure, but for the memory
// that it owns.

/** One thing that the kernel holds once, under its key. */
export interface Element {
  readonly set: string;
  readonly key: string;
  /** Absent: all who ask for it share it. */
  readonly value?: string;
  /** For people who list the rules. */
  readonly comment?: string;
}

/** Is told what to change. */
export interface Writer {
  /** Of whom the next elements are: "namespace/name". */
  owner: string;
  add(element: Element): void;
  delete(element: Element): void;
}

interface Claim {
  readonly owner: string;
  readonly element: Element;
}

export interface Conflict {
  /** "namespace/name TCP 80" */
  readonly loser: string;
  readonly winner: string;
  /** "192.0.2.1 . tcp . 80" */
  readonly key: string;
}

export class Claims {
  readonly #claims = new Map<string, Claim[]>();
  /** Since the last write(): what the kernel has. */
  readonly #touched = new Map<string, Element | undefined>();
  /** Those with a value that several ask for. */
  readonly #contested = new Set<string>();

  /** Of one owner. An element that is in both lists stays as it is. */
  replace(owner: string, before: readonly Element[], after: readonly Element[]): void {
    const old = new Map(before.map((element) => [idOf(element), element]));
    for (const element of after) {
      const id = idOf(element);
      const known = old.get(id);
      old.delete(id);
      if (known?.value !== element.value || known?.comment !== element.comment || known === undefined)
        this.#set(id, owner, element);
    }
    for (const id of old.keys()) this.#set(id, owner, undefined);
  }

  /** What has changed since the last time. */
  write(script: Writer): void {
    for (const [id, before] of this.#touched) {
      const after = this.#claims.get(id)?.[0]?.element;
      if (before !== undefined && after !== undefined && before.value === after.value) continue;
      // "namespace/name TCP 80" → whose Service it is
      script.owner = this.#claims.get(id)?.[0]?.owner.split(" ")[0] ?? "";
      if (before !== undefined) script.delete(before);
      if (after !== undefined) script.add(after);
    }
    this.#touched.clear();
  }

  /** Only of maps: in a set all who ask are served. */
  conflicts(): readonly Conflict[] {
    return [...this.#contested].flatMap((id) => {
      const [winner, ...losers] = this.#claims.get(id) ?? [];
      return losers.flatMap(({ owner, element }) =>
        winner === undefined ? [] : [{ loser: owner, winner: winner.owner, key: element.key }],
      );
    });
  }

  #set(id: string, owner: string, element: Element | undefined): void {
    const claims = this.#claims.get(id) ?? [];
    if (!this.#touched.has(id)) this.#touched.set(id, claims[0]?.element);
    const others = claims.filter((claim) => claim.owner !== owner);
    if (element !== undefined) {
      const at = others.findIndex((claim) => claim.owner > owner);
      others.splice(at < 0 ? others.length : at, 0, { owner, element });
    }
    if (others.length === 0) this.#claims.delete(id);
    else this.#claims.set(id, others);
    if (others.length > 1 && others[0]?.element.value !== undefined) this.#contested.add(id);
    else this.#contested.delete(id);
  }
}

const idOf = ({ set, key }: Element): string => `${set} ${key}`;
