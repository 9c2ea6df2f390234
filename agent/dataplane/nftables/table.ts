// What one family's table holds, and the script that turns it into what a plan asks for. It keeps no copy of the elements: those of
// a Service are computed anew from the Service's plan when it changes, so memory is what the plan takes and little more.
// A script that nft refused must be followed by a new Table and its full script. Pure, but for the memory that it owns.
import { differences } from "../../../src/shared/sorted.ts";
import type { Family } from "../../plan/endpoints.ts";
import { byKey } from "../../plan/keys.ts";
import type { KernelNode, KernelPort, PlanService } from "../../plan/plan.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import { Claims, type Element } from "../kernel/claims.ts";
import { AFFINE_IDS, type Elements, elementsOf, ENDPOINT_IDS, type Numbers, PORT_IDS } from "./elements.ts";
import { Ids } from "./ids.ts";
import type { NftFamily } from "./layout.ts";
import { nodeElements } from "./node-elements.ts";
import { Script } from "./script.ts";

/** Which method of Ids gives a number. */
type Ask = "known" | "of";

interface Rendered {
  /** "namespace/name TCP 80" */
  readonly name: string;
  readonly elements: Elements;
  /** It asks for affinity and does not get it. */
  readonly forgets: boolean;
}

/** Chains that nothing leads to any more are kept, since the same are often needed again; more than so many are not. */
const UNUSED_CHAINS_MAX = 256;
/** Kernels before 6.2 hold a chain a moment longer than what led to it. kube-proxy waits as long. */
const UNUSED_MS = 1_000;

export interface TableOptions {
  readonly family: Family;
  readonly settings: KernelSettings;
  readonly localAddresses: () => readonly string[];
  /** Monotonic, ms. */
  readonly now: () => number;
}

export class Table {
  readonly family: NftFamily;
  readonly #options: TableOptions;
  #node: KernelNode = { addresses: [], podCIDRs: [], serviceCIDRs: [] };
  #ofNode: readonly Element[] = [];
  #services: readonly PlanService[] = [];
  readonly #claims = new Claims();
  /** Name → how many elements lead to it. */
  readonly #chains = new Map<string, number>();
  /** Chains in the kernel that nothing leads to → since when. */
  readonly #unused = new Map<string, number>();
  readonly #portIds = new Ids(PORT_IDS);
  readonly #affineIds = new Ids(AFFINE_IDS);
  /** By Service port. */
  readonly #endpointIds = new Map<string, Ids>();
  readonly #forgetful = new Set<string>();
  readonly #digest = { a: 0, b: 0 };

  constructor(options: TableOptions) {
    this.#options = options;
    this.family = options.family === "IPv4" ? "ip" : "ip6";
  }

  /** From what it holds to `services`, sorted as in a plan. Its script is empty where nothing has changed. */
  update(services: readonly PlanService[], node: KernelNode): Script {
    const script = new Script(this.family);
    const before = { node: this.#node, services: this.#services };
    const moved = JSON.stringify(node) !== JSON.stringify(before.node);
    // Asked each time, since a CIDR may match an address that the machine has only now.
    const ofNode = nodeElements(this.family, node, this.#options.settings, this.#options.localAddresses);
    this.#claims.replace("", this.#ofNode, ofNode);
    [this.#node, this.#ofNode] = [node, ofNode];
    const changed = differences(before.services, services, byKey);
    const others = new Set(changed.map(({ after }) => after));
    // Those that are gone first: others may ask for the numbers that they had.
    for (const each of changed) if (each.after === undefined) this.#change(script, each.before, before.node, undefined);
    for (const each of changed)
      if (each.after !== undefined) this.#change(script, each.before, before.node, each.after);
    // What a Service allows depends on the node's addresses, too.
    for (const service of moved ? services.filter(isRanged) : [])
      if (!others.has(service)) this.#change(script, service, before.node, service);
    this.#services = services;
    this.#claims.write(script);
    this.#digest.a = (this.#digest.a + script.digest.a) >>> 0;
    this.#digest.b = (this.#digest.b + script.digest.b) >>> 0;
    return script;
  }

  /** Of all that it holds, in whatever order that came. Equal digests mean equal elements, and equal rules where these lead to. */
  get digest(): string {
    return [this.#digest.a, this.#digest.b].map((half) => half.toString(16).padStart(8, "0")).join("");
  }

  /** Deletes chains that nothing leads to for a while, if there are more than `kept`. By itself, and swept() must be told how it went. */
  sweep(kept = UNUSED_CHAINS_MAX): Script {
    const script = new Script(this.family);
    if (this.#unused.size <= kept) return script;
    const before = this.#options.now() - UNUSED_MS;
    for (const [name, since] of this.#unused) if (since <= before) script.sweepChain(name);
    return script;
  }

  /** `done`: false where the kernel holds them still. They are tried again after a while. */
  swept({ sweeps }: Script, done: boolean): void {
    for (const name of sweeps) {
      if (!done) this.#unused.set(name, this.#options.now());
      else if (this.#unused.delete(name)) this.#chains.delete(name);
    }
  }

  /** This table was written over `other`, whose chains are still there, if without rules. */
  inherit(other: Table): void {
    for (const name of [...other.#chains.keys(), ...other.#unused.keys()])
      if (!this.#chains.has(name)) this.#unused.set(name, other.#unused.get(name) ?? this.#options.now());
  }

  /** Frontends that two Service ports ask for: who does not get it, and who has it. */
  get conflicts(): ReturnType<Claims["conflicts"]> {
    return this.#claims.conflicts();
  }

  /** Service ports whose clients are not remembered, since there are no numbers left: "namespace/name TCP 80". */
  get forgetful(): ReadonlySet<string> {
    return this.#forgetful;
  }

  #change(
    script: Script,
    before: PlanService | undefined,
    nodeBefore: KernelNode,
    after: PlanService | undefined,
  ): void {
    script.owner = (after ?? before)?.key ?? "";
    const old = new Map(this.#ports(before, nodeBefore, "known").map((each) => [each.name, each]));
    // Those that come may need the numbers of those that go.
    this.#releaseEndpoints(before, after);
    for (const { name, elements, forgets } of this.#ports(after, this.#node, "of")) {
      this.#replace(script, name, old.get(name)?.elements, elements);
      old.delete(name);
      if (forgets) this.#forgetful.add(name);
      else this.#forgetful.delete(name);
    }
    for (const { name, elements } of old.values()) {
      this.#replace(script, name, elements, undefined);
      this.#forgetful.delete(name);
      this.#portIds.release(name);
      this.#affineIds.release(`${name} cluster`);
      this.#affineIds.release(`${name} local`);
    }
  }

  #replace(script: Script, owner: string, before: Elements | undefined, after: Elements | undefined): void {
    const idOf = ({ set, key }: Element) => `${set} ${key}`;
    const old = new Map((before?.own ?? []).map((element) => [idOf(element), element]));
    for (const element of after?.own ?? []) {
      // At the start nothing is known, and nothing need be looked up.
      const known = old.size === 0 ? undefined : old.get(idOf(element));
      if (known !== undefined && known.value === element.value) old.delete(idOf(element));
      else script.add(element);
    }
    for (const element of old.values()) script.delete(element);
    this.#claims.replace(owner, before?.shared ?? [], after?.shared ?? []);
    for (const [name, rules] of after?.chains ?? []) {
      const count = this.#chains.get(name);
      script.count(rules.join("\n"), 1);
      if (count === undefined) script.addChain(name, rules);
      this.#chains.set(name, (count ?? 0) + 1);
      this.#unused.delete(name);
    }
    for (const [name, rules] of before?.chains ?? []) {
      script.count(rules.join("\n"), -1);
      const count = (this.#chains.get(name) ?? 1) - 1;
      this.#chains.set(name, count);
      if (count === 0) this.#unused.set(name, this.#options.now());
    }
  }

  /** "known": as they were, so that what has no number gets none. */
  #ports(service: PlanService | undefined, node: KernelNode, ask: Ask): Rendered[] {
    const family = this.#options.family;
    return (service?.kernel?.ports ?? [])
      .filter((port) => port.family === family)
      .flatMap((port) => {
        const name = `${service?.key} ${port.protocol} ${port.port}`;
        const number = this.#portIds[ask](name);
        if (number === undefined) return [];
        const affine = port.affinitySeconds === undefined ? undefined : this.#affine(name, port, ask);
        const numbers = { port: number, ...(affine === undefined ? {} : { affine }) };
        const shown = `${service?.key}:${port.name === "" ? port.port : port.name}`;
        const elements = elementsOf(port, { numbers, node, name: shown, family: this.family });
        return [{ name, elements, forgets: port.affinitySeconds !== undefined && affine === undefined }];
      });
  }

  /** Undefined where a number is lacking: then the port is served as one without affinity. */
  #affine(name: string, { cluster, local }: KernelPort, ask: Ask): Numbers["affine"] {
    let ids = this.#endpointIds.get(name);
    if (ids === undefined) this.#endpointIds.set(name, (ids = new Ids(ENDPOINT_IDS)));
    const own = { cluster: this.#affineIds[ask](`${name} cluster`), local: this.#affineIds[ask](`${name} local`) };
    if (own.cluster === undefined || own.local === undefined) return undefined;
    const endpoints = new Map<string, number>();
    for (const { address, port } of [...cluster, ...local]) {
      const key = `${address} ${port}`;
      const number = ids[ask](key);
      if (number === undefined) return undefined;
      endpoints.set(key, number);
    }
    return { cluster: own.cluster, local: own.local, endpoints };
  }

  #releaseEndpoints(before: PlanService | undefined, after: PlanService | undefined): void {
    for (const { protocol, port } of before?.kernel?.ports ?? []) {
      const name = `${before?.key} ${protocol} ${port}`;
      const ids = this.#endpointIds.get(name);
      if (ids === undefined) continue;
      const staying = (after?.kernel?.ports ?? []).filter((each) => each.protocol === protocol && each.port === port);
      const kept = new Set(
        staying.flatMap(({ cluster, local }) => [...cluster, ...local]).map((each) => `${each.address} ${each.port}`),
      );
      if (kept.size === 0) this.#endpointIds.delete(name);
      else for (const key of [...ids.names]) if (!kept.has(key)) ids.release(key);
    }
  }
}

const isRanged = ({ kernel }: PlanService): boolean =>
  kernel?.ports.some(({ sourceRanges }) => sourceRanges !== undefined) ?? false;
