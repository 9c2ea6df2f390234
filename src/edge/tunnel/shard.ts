// Which nodes a TunnelObject can use now, and in what order: its table joined with its live links. It decides and sends nothing.
// It lives in memory only: after an eviction the links are restored from their sockets, and failures are forgotten.
import { createBalancer } from "../../shared/balance/index.ts";
import { combine, type Verdict } from "../../shared/health/combine.ts";
import { Ejector } from "../../shared/health/ejection.ts";
import type { Route, RoutingTable } from "../routing/table.ts";
import type { Balancer, Candidate, PickContext } from "../../shared/balance/balancer.ts";
import { hash32 } from "../../shared/balance/hash.ts";
import { CONNECTIONS_PER_NODE } from "../../shared/wire/limits.ts";
import type { NodeAlgorithm } from "../../shared/model/snapshot.ts";
import type { Effects } from "../forward/transport.ts";
import type { Link } from "./link.ts";

/** A node with its connections, newest process first. */
export class ShardNode {
  readonly name: string;
  readonly hash: number;
  readonly links: Link[] = [];

  constructor(name: string) {
    this.name = name;
    this.hash = hash32(name);
  }

  get inFlight(): number {
    let streams = 0;
    for (const link of this.links) streams += link.session.open;
    return streams;
  }

  /** Where a new stream goes: the newest connection that takes one, a silent one only if there is no other. */
  get best(): Link | undefined {
    let silent: Link | undefined;
    for (const link of this.links) {
      if (!link.usable) continue;
      if (!link.suspect) return link;
      silent ??= link;
    }
    return silent;
  }
}

/** A node as a candidate of one route: weights differ from route to route. */
class RouteCandidate implements Candidate {
  readonly node: ShardNode;
  readonly weight: number;
  readonly preferred: boolean;

  constructor(node: ShardNode, weight: number, preferred: boolean) {
    this.node = node;
    this.weight = weight;
    this.preferred = preferred;
  }

  get key(): string {
    return this.node.name;
  }
  get hash(): number {
    return this.node.hash;
  }
  get inFlight(): number {
    return this.node.inFlight;
  }
}

interface RouteState {
  readonly balancer: Balancer;
  readonly candidates: readonly RouteCandidate[];
  /** Candidates that are available, the preferred ones first; behind them those that are connected but not available. */
  tiers: readonly (readonly RouteCandidate[])[];
  /** The shard's #version when `tiers` was made. */
  version: number;
}

/** Affinity is kept by the client's hash, whatever the algorithm. */
const algorithmOf = (route: Route): NodeAlgorithm => (route.affinity ? "source-hash" : route.algorithm);
const balancerKey = (route: Route): string => `${route.service}:${route.port}:${algorithmOf(route)}`;

export class Shard {
  /** Nodes that the table names, and nodes that are connected. */
  readonly #nodes = new Map<string, ShardNode>();
  #named: ReadonlySet<string> = new Set();
  #routes = new Map<Route, RouteState>();
  readonly ejector: Ejector;
  readonly #effects: Effects;
  /** Rises when a node's availability changes, so that tiers are built once a change and not for each request. */
  #version = 0;
  #ejectionsUntil = Number.POSITIVE_INFINITY;
  /** When a connection last went away, or this object woke; epoch ms. */
  lastLeft: number;

  constructor(effects: Effects) {
    this.#effects = effects;
    this.lastLeft = effects.now();
    this.ejector = new Ejector(effects.random);
  }

  /** A route that stays (the same Service, port and algorithm) keeps its balancer, with the balancer's state. */
  setTable(table: RoutingTable): void {
    const before = new Map<string, RouteState>();
    for (const [route, state] of this.#routes) before.set(balancerKey(route), state);
    this.#routes = new Map();
    for (const route of table.routes) {
      this.#routes.set(route, {
        balancer: before.get(balancerKey(route))?.balancer ?? createBalancer(algorithmOf(route)),
        candidates: route.nodes.map((each) => {
          const name = table.nodes[each.node]?.name ?? "";
          return new RouteCandidate(this.node(name), each.weight, each.preferred);
        }),
        tiers: [],
        version: -1,
      });
    }
    this.#named = new Set(table.nodes.map((node) => node.name));
    for (const node of this.#nodes.values()) this.#forgetGhost(node);
    this.ejector.retain(this.#nodes);
    this.changed();
  }

  /** Forgets a node that is neither in the table nor connected. An agent may dial by any name, and names must not pile up. */
  #forgetGhost({ name, links }: ShardNode): void {
    if (links.length === 0 && !this.#named.has(name)) this.#nodes.delete(name);
  }

  node(name: string): ShardNode {
    let node = this.#nodes.get(name);
    if (node === undefined) {
      node = new ShardNode(name);
      this.#nodes.set(name, node);
    }
    return node;
  }

  /** How many nodes are connected. */
  get connected(): number {
    let count = 0;
    for (const { links } of this.#nodes.values()) if (links.length > 0) count++;
    return count;
  }

  get nodes(): Iterable<ShardNode> {
    return this.#nodes.values();
  }

  /**
   * A connection of node `name` has said HELLO. Returns the connections that it replaces: those of the same process, which has
   * redialled, and the oldest ones beyond CONNECTIONS_PER_NODE.
   */
  join(name: string, link: Link): readonly Link[] {
    const node = this.node(name);
    const instance = link.session.peer?.instance;
    const replaced = node.links.filter((each) => each.session.peer?.instance === instance);
    node.links.push(link);
    node.links.sort((a, b) => (b.session.peer?.started ?? 0) - (a.session.peer?.started ?? 0) || b.since - a.since);
    const kept = node.links.filter((each) => !replaced.includes(each));
    const surplus = kept.slice(CONNECTIONS_PER_NODE);
    this.changed();
    return [...replaced, ...surplus];
  }

  leave(link: Link, now: number): void {
    this.lastLeft = now;
    for (const node of this.#nodes.values()) {
      const at = node.links.indexOf(link);
      if (at < 0) continue;
      node.links.splice(at, 1);
      this.#forgetGhost(node);
    }
    this.changed();
  }

  /** The availability of some node may have changed. */
  changed(): void {
    this.#version++;
  }

  verdict(node: ShardNode, now: number): Verdict {
    const usable = node.links.some((link) => link.usable);
    return combine({
      measured:
        node.links.length === 0
          ? "not connected"
          : !usable
            ? "draining"
            : node.best?.suspect === true
              ? "silent"
              : undefined,
      ejectedUntil: this.ejector.ejectedUntil(node.name, now),
      now,
    });
  }

  /** A request may outlive the table that it was matched by: it goes on by the newest table's route of that Service and port. */
  #stateOf(route: Route): RouteState | undefined {
    const state = this.#routes.get(route);
    if (state !== undefined) return state;
    for (const [next, itsState] of this.#routes)
      if (next.service === route.service && next.port === route.port) return itsState;
    return undefined;
  }

  /** Whether `route` has an available node that is not among `tried`. */
  hasOther(route: Route, tried: readonly ShardNode[], now: number): boolean {
    const state = this.#stateOf(route);
    return (
      state?.candidates.some(
        (each) => !tried.includes(each.node) && each.node.best !== undefined && this.verdict(each.node, now).available,
      ) ?? false
    );
  }

  /**
   * Nodes to try for `route`, the best first. Nodes that are connected but not available come last, which is better than to refuse.
   * When availability changes while a yielded node is tried, the order begins anew, so a node may come twice.
   */
  *order(route: Route, client: number, now: number): Iterable<ShardNode> {
    const state = this.#stateOf(route);
    if (state === undefined) return;
    if (now >= this.#ejectionsUntil) this.changed();
    if (state.version !== this.#version) this.#sort(state, now);
    const version = this.#version;
    const ctx: PickContext = { now, random: this.#effects.random, client };
    for (const tier of state.tiers)
      for (const { node } of state.balancer.order(tier, ctx)) {
        // A node that takes no stream now, because its connections are full or draining, is passed over: others may be free.
        if (node.best === undefined) continue;
        yield node;
        if (this.#version === version) continue;
        yield* this.order(route, client, this.#effects.now());
        return;
      }
  }

  #sort(state: RouteState, now: number): void {
    const preferred: RouteCandidate[] = [];
    const others: RouteCandidate[] = [];
    const last: RouteCandidate[] = [];
    this.#ejectionsUntil = this.ejector.nextReturn(now);
    for (const candidate of state.candidates) {
      if (candidate.node.best === undefined) continue;
      if (!this.verdict(candidate.node, now).available) last.push(candidate);
      else if (candidate.preferred) preferred.push(candidate);
      else others.push(candidate);
    }
    state.tiers = [preferred, others, last].filter((tier) => tier.length > 0);
    state.version = this.#version;
  }
}
