// What the plan wants of the kernel, by kind, kept up to date from plan to plan, and what of it changed. Pure, but for the memory that
// it owns. Of what several Services ask for, the first by name has it, whatever came first.
import type { PlanService } from "../../plan/plan.ts";
import { Claims, type Element } from "../kernel/claims.ts";
import { ADDRESS, elementsOf, outFilter, SERVER } from "./elements.ts";
import type { Facts } from "./facts.ts";
import { parseServer, type Server } from "./servers.ts";

export type Services = ReadonlyMap<string, PlanService>;

/** Keys, by kind. */
export interface Changes {
  readonly servers: Set<string>;
  readonly entries: Set<string>;
  readonly addresses: Set<string>;
}

export class State {
  readonly #claims = new Claims();
  readonly #wanted = new Map<string, Wanted>();
  /** Rules of KUBE-IPVS-OUT-FILTER. */
  readonly #rules = new Map<string, Wanted>();
  #services: Services = new Map();
  #facts: readonly Facts[] = [];
  #factsKey = "";

  /** From what it wants now to what these Services need. */
  update(services: Services, facts: readonly Facts[]): Changes {
    const factsKey = JSON.stringify(facts);
    const before = { services: this.#services, facts: this.#facts };
    const anew = factsKey !== this.#factsKey;
    for (const [key, service] of before.services)
      if (!services.has(key)) this.#claims.replace(key, elements(service, before.facts), []);
    for (const [key, service] of services) {
      const known = before.services.get(key);
      if (known === service && !anew) continue;
      this.#claims.replace(key, elements(known, before.facts), elements(service, facts));
    }
    [this.#services, this.#facts, this.#factsKey] = [services, facts, factsKey];
    const changes = none();
    const of = (element: Element) => (isRule(element) ? this.#rules : this.#wanted);
    this.#claims.write({
      owner: "",
      delete(element) {
        of(element).delete(idOf(element));
        note(changes, element);
      },
      add(element) {
        of(element).set(idOf(element), { owner: this.owner, element });
        note(changes, element);
      },
    });
    return changes;
  }

  readonly server = (key: string): Server | undefined => {
    const value = this.#wanted.get(`${SERVER} ${key}`)?.element.value;
    return value === undefined ? undefined : parseServer(value);
  };
  readonly entry = (key: string): true | undefined => (this.#wanted.has(key) ? true : undefined);
  readonly address = (key: string): true | undefined => (this.#wanted.has(`${ADDRESS} ${key}`) ? true : undefined);

  /** All of it. */
  get all(): Changes {
    const all = none();
    for (const { element } of this.#wanted.values()) note(all, element);
    return all;
  }

  /** Rules of KUBE-IPVS-OUT-FILTER, with the Services whose they are. */
  outFilter(family: Facts["family"]): readonly { readonly owner: string; readonly rule: string }[] {
    const set = outFilter({ family });
    return [...this.#rules.values()]
      .filter(({ element }) => element.set === set)
      .map(({ owner, element }) => ({ owner, rule: element.key }))
      .sort((one, other) => (one.rule < other.rule ? -1 : 1));
  }

  ownerOf(kind: "server" | "address" | "entry", key: string): string | undefined {
    return this.#wanted.get(kind === "entry" ? key : `${kind} ${key}`)?.owner;
  }

  get conflicts(): ReturnType<Claims["conflicts"]> {
    return this.#claims.conflicts();
  }
}

interface Wanted {
  readonly owner: string;
  readonly element: Element;
}

const none = (): Changes => ({ servers: new Set(), entries: new Set(), addresses: new Set() });

/** Rules are few, and are written by whole chains. */
function note(changes: Changes, element: Element): void {
  if (element.set === SERVER) changes.servers.add(element.key);
  else if (element.set === ADDRESS) changes.addresses.add(element.key);
  else if (!isRule(element)) changes.entries.add(idOf(element));
}

const isRule = ({ set }: Element): boolean =>
  set === outFilter({ family: "IPv4" }) || set === outFilter({ family: "IPv6" });
const idOf = ({ set, key }: Element): string => `${set} ${key}`;
const elements = (service: PlanService | undefined, facts: readonly Facts[]): readonly Element[] =>
  service === undefined ? [] : facts.flatMap((each) => elementsOf(service, each));
