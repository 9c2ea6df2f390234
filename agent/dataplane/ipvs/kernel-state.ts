// This node's kernel in ipvs mode: the device with its addresses, sets, virtual servers and chains, of both families. It makes them what
// State wants, in an order in which no packet meets half of it, and remembers what it wrote. Calls are serialised by the caller.
import type { Checked } from "../executor.ts";
import type { Family } from "../../plan/endpoints.ts";
import { Tools as Iptables } from "../iptables/tools.ts";
import type { Run } from "../kernel/run.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import { Chains } from "./chains.ts";
import type { Facts } from "./facts.ts";
import { addresses, entries, servers } from "./kinds.ts";
import { parseSets, parseSizes } from "./listings.ts";
import { createLine, knownSets, setNames, setOf } from "./names.ts";
import { isOurServer } from "./ownership.ts";
import { Part } from "./part.ts";
import { rulesOf } from "./rules.ts";
import { drainingOf, type Server } from "./servers.ts";
import type { Changes, State } from "./state.ts";
import { Tools, Unable } from "./tools.ts";

/** Stands for the Service in a problem of the whole node. */
export const ALL_SERVICES = "*";

export interface Refusal {
  /** "namespace/name", or ALL_SERVICES */
  readonly service: string;
  readonly message: string;
}

export class KernelState {
  readonly #settings: KernelSettings;
  readonly #tools: Tools;
  readonly #servers: Part<Server>;
  readonly #entries: Part<true>;
  readonly #addresses: Part<true>;
  readonly #chains: readonly Chains[];
  /** Families that have had a Service, or of which whoever was here before has left sets. */
  readonly #families = new Set<Family>();
  /** What the kernel does not take, by "kind key". */
  readonly #refused = new Map<string, Refusal>();
  /** Family → why its rules of KUBE-IPVS-OUT-FILTER are not there. */
  readonly #unfiltered = new Map<Family, string>();
  #known = false;
  #hasTimeouts = false;

  constructor(settings: KernelSettings, run: Run) {
    this.#settings = settings;
    this.#tools = new Tools(run);
    this.#servers = new Part(servers, this.#tools);
    this.#entries = new Part(entries, this.#tools);
    this.#addresses = new Part(addresses, this.#tools);
    this.#chains = settings.families.map((family) => new Chains(new Iptables(family, run)));
  }

  /** Something is not there that is wanted, and might be if it were tried again. */
  get hasRefusals(): boolean {
    return this.#refused.size > 0 || this.#unfiltered.size > 0;
  }

  /** The next write is of everything, over whatever is there. */
  forget(): void {
    this.#known = false;
    this.#refused.clear();
    this.#unfiltered.clear();
    for (const chains of this.#chains) chains.forget();
  }

  hasScheduler(name: string): Promise<boolean> {
    return this.#tools.hasScheduler(name);
  }

  /** `changes`: what `wanted` has changed since the last write. Rejects where nothing can be written. */
  async write(wanted: State, changes: Changes, facts: readonly Facts[]): Promise<void> {
    const isNew = facts.some(({ family }) => !this.#families.has(family));
    for (const { family } of facts) this.#families.add(family);
    if (this.#known && !isNew) return await this.#write(wanted, changes, facts);
    this.#known = false;
    await this.#load(wanted);
    const all = wanted.all;
    for (const key of this.#servers.known.keys()) all.servers.add(key);
    for (const key of this.#entries.known.keys()) all.entries.add(key);
    for (const key of this.#addresses.known.keys()) all.addresses.add(key);
    this.#refused.clear();
    await this.#write(wanted, all, facts);
  }

  refusals(wanted: State): readonly Refusal[] {
    const unfiltered = [...this.#unfiltered].flatMap(([family, why]) =>
      wanted.outFilter(family).map(({ owner }) => ({
        service: owner,
        message: `this node itself may ask its load balancer's addresses in spite of its source ranges (${why}). Load the module: modprobe xt_ipvs`,
      })),
    );
    return [...this.#refused.values(), ...unfiltered];
  }

  /**
   * Due where it is not known what is there. `endDrained`: servers that nobody wants any more and that have no
   * connections left are removed now.
   */
  async check(wanted: State, endDrained: boolean): Promise<Checked> {
    if (!this.#known) return "due";
    const listed = await this.#servers.list();
    const known = [...this.#servers.known];
    const isSame =
      known.every(([key, server]) => isEqual(server, listed.get(key))) &&
      (await this.#hasAddresses()) &&
      (await this.#hasEntries());
    const holds: boolean[] = [];
    for (const chains of this.#active) holds.push(await chains.check());
    this.#known = isSame && holds.every(Boolean);
    if (!this.#known) return "changed";
    if (endDrained) await this.#endDrained(wanted, listed);
    return this.#known ? "intact" : "due";
  }

  get #active(): readonly Chains[] {
    return this.#chains.filter(({ family }) => this.#families.has(family));
  }

  /** Makes device and sets, and looks at what is there. */
  async #load(wanted: State): Promise<void> {
    if ((await this.#tools.addresses()) === undefined) await this.#tools.addDevice();
    const { existing } = parseSets(await this.#tools.sets());
    for (const set of existing) {
      const family = knownSets.get(set)?.family;
      if (family !== undefined && this.#settings.families.includes(family)) this.#families.add(family);
    }
    const missing = [...this.#families].flatMap((family) =>
      setNames.filter((name) => !existing.has(setOf(name, family))).map((name) => createLine(name, family)),
    );
    if (missing.length > 0) {
      const ran = await this.#tools.changeSets(missing);
      if (ran.code !== 0) throw new Unable(`ipset cannot make a set: ${ran.stderr.trim()}`);
    }
    for (const chains of this.#active) await chains.look();
    await this.#setTimeouts();
    const isOurs = (key: string) => knownSets.has(key.split(" ")[0] ?? "");
    await this.#entries.load(isOurs);
    await this.#addresses.load();
    const { excludeCIDRs } = this.#settings.ipvs;
    const made = isOurServer(this.#addresses.known, this.#entries.known, excludeCIDRs);
    await this.#servers.load((key) => wanted.server(key) !== undefined || made(key));
  }

  async #setTimeouts(): Promise<void> {
    const { tcpTimeout, tcpFinTimeout, udpTimeout } = this.#settings.ipvs;
    if (this.#hasTimeouts || [tcpTimeout, tcpFinTimeout, udpTimeout].every((each) => each === 0)) return;
    const ran = await this.#tools.setTimeouts(tcpTimeout, tcpFinTimeout, udpTimeout);
    if (ran.code !== 0) throw new Unable(`ipvsadm cannot set its timeouts: ${ran.stderr.trim()}`);
    this.#hasTimeouts = true;
  }

  /**
   * Masquerading and source ranges hold before a server is there, and a server before its address is, which alone makes packets come
   * to it. Entries go last, since by them it is told whose a server is. Over iptables mode's rules the addresses come before the chains:
   * those rules are met first as long as they are there, and without them packets must not leave the node.
   */
  async #write(wanted: State, changes: Changes, facts: readonly Facts[]): Promise<void> {
    this.#known = false;
    const [added, gone]: [string[], string[]] = [[], []];
    for (const key of changes.entries) (wanted.entry(key) === undefined ? gone : added).push(key);
    await this.#writePart("entry", this.#entries, added.sort(byPlace), wanted, wanted.entry);
    await this.#writePart("server", this.#servers, [...changes.servers], wanted, wanted.server);
    const addresses = [...changes.addresses];
    if (this.#active.some((chains) => chains.areOfIptables))
      await this.#writePart("address", this.#addresses, addresses, wanted, wanted.address);
    await this.#writeAllChains(wanted, facts);
    await this.#writePart("address", this.#addresses, addresses, wanted, wanted.address);
    await this.#writePart("entry", this.#entries, gone.sort(byPlace).toReversed(), wanted, wanted.entry);
    this.#known = true;
  }

  async #writePart<Value>(
    kind: "server" | "entry" | "address",
    part: Part<Value>,
    keys: readonly string[],
    wanted: State,
    of: (key: string) => Value | undefined,
  ): Promise<void> {
    if (keys.length === 0) return;
    for (const key of keys) this.#refused.delete(`${kind} ${key}`);
    for (const [key, why] of await part.write(keys, of)) {
      const service = wanted.ownerOf(kind, key);
      // What nobody wants any more and cannot be removed is in nobody's way.
      if (service !== undefined) this.#refused.set(`${kind} ${key}`, { service, message: `${kind} ${key}: ${why}` });
    }
  }

  /** A machine without the rules of one family still serves the other. Rejects where it has those of none. */
  async #writeAllChains(wanted: State, facts: readonly Facts[]): Promise<void> {
    const failures: Unable[] = [];
    for (const chains of this.#active) {
      const id = `rules ${chains.family}`;
      this.#refused.delete(id);
      try {
        await this.#writeChains(chains, wanted, facts);
      } catch (error) {
        if (!(error instanceof Unable)) throw error;
        failures.push(error);
        this.#refused.set(id, { service: ALL_SERVICES, message: `${id}: ${error.message}` });
      }
    }
    const [first] = failures;
    if (first !== undefined && failures.length === this.#active.length) throw first;
  }

  async #writeChains(chains: Chains, wanted: State, facts: readonly Facts[]): Promise<void> {
    const own = facts.find(({ family }) => family === chains.family);
    const { family } = chains;
    const rules = wanted.outFilter(family).map(({ rule }) => rule);
    const why = await chains.write(rulesOf(own ?? nothing(family, facts), rules));
    if (why !== undefined) this.#unfiltered.set(family, why);
  }

  async #hasAddresses(): Promise<boolean> {
    const [listed, known] = [await this.#addresses.list(), this.#addresses.known];
    return listed.size === known.size && [...known.keys()].every((key) => listed.has(key));
  }

  /** By their number alone: to list them costs what they are. */
  async #hasEntries(): Promise<boolean> {
    const sizes = parseSizes(await this.#tools.setSizes());
    const counts = new Map<string, number>();
    for (const key of this.#entries.known.keys()) {
      const set = key.slice(0, key.indexOf(" "));
      counts.set(set, (counts.get(set) ?? 0) + 1);
    }
    const sets = [...this.#families].flatMap((family) => setNames.map((name) => setOf(name, family)));
    return sets.every((set) => sizes.get(set) === (counts.get(set) ?? 0));
  }

  async #endDrained(wanted: State, listed: ReadonlyMap<string, Server>): Promise<void> {
    const lines: string[] = [];
    const left = new Map<string, Server>();
    for (const key of this.#servers.known.keys()) {
      const [server, wants] = [listed.get(key), wanted.server(key)];
      if (server === undefined || wants === undefined) continue;
      const ended = drainingOf(server, wants).filter(([, { connections }]) => connections === 0);
      if (ended.length === 0) continue;
      const gone = new Set(ended.map(([socket]) => socket));
      lines.push(...[...gone].map((socket) => `-d ${key} -r ${socket}`));
      const rest = [...server.destinations].filter(([socket]) => !gone.has(socket));
      left.set(key, { ...server, destinations: new Map(rest) });
    }
    if (lines.length === 0) return;
    const ran = await this.#tools.changeServers(lines);
    if (ran.code === 0) for (const [key, server] of left) this.#servers.note(key, server);
    else this.#known = false;
  }
}

/** "set entry": in the order in which their sets are filled. */
function byPlace(one: string, other: string): number {
  const place = (key: string) => knownSets.get(key.slice(0, key.indexOf(" ")))?.place ?? 0;
  return place(one) - place(other);
}

/** A family that has no Service any more. */
const nothing = (
  family: Family,
  facts: readonly Facts[],
): Pick<Facts, "family" | "mark" | "fromPods" | "masqueradeAll"> => ({
  ...{ family, fromPods: [], masqueradeAll: false, mark: facts[0]?.mark ?? "0x4000" },
});

function isEqual(one: Server, other: Server | undefined): boolean {
  if (other === undefined || one.options !== other.options || one.destinations.size !== other.destinations.size)
    return false;
  return [...one.destinations].every(([socket, { weight }]) => other.destinations.get(socket)?.weight === weight);
}
