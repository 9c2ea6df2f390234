// The live side of the plan: for each Service port, which endpoints there are and in what order to try them.
// Used by NodePort connections (executor.ts) and by tunnel streams (agent/tunnel) alike, so that both count into the same
// requests in flight and failures. Dials nothing itself. Survives every plan change; lost at restart.
import type { Balancer } from "../../src/shared/balance/balancer.ts";
import { clientHash } from "../../src/shared/balance/hash.ts";
import { SourceHash } from "../../src/shared/balance/source-hash.ts";
import type { ForwardingPlan, PlanEndpoint, PlanPort, PlanService } from "../plan/plan.ts";
import { hostPort } from "../../src/shared/net/host-port.ts";
import { compileRanges } from "../../src/shared/net/ranges.ts";
import { Affinity } from "./affinity.ts";
import { createEndpointBalancer } from "./balance/index.ts";
import { Random } from "./balance/random.ts";
import { ENDPOINT_RULES, isBroken } from "./ejection.ts";
import { Endpoint, type EndpointState } from "./endpoint.ts";

export type { EndpointState } from "./endpoint.ts";

/** One Service port. Valid until the next update(): look it up for each stream or connection. */
export interface Backend {
  /** Why there is no endpoint, in words; absent where there is one. */
  readonly refusal?: string;
  /** ExternalName: send this as Host (and SNI) instead of the client's. */
  readonly externalName?: string;
  /** Source ranges, once more on the node: the edge's table may be a few seconds old. "" = unknown client. */
  sourceAllowed(client: string): boolean;
  /** Every endpoint once, best first, lazily. Taking the next one means that the one before could not be used. */
  order(client: string, now: number): Iterable<EndpointState>;
}

/** A port of an exposed Service, as a stream would find it. */
export interface LookedUpPort {
  readonly port: number;
  readonly refusal?: string;
  /** `broken`: it failed so often that it comes last. */
  readonly endpoints: readonly (Pick<EndpointState, "address" | "port" | "terminating"> & {
    readonly broken: boolean;
  })[];
}

export interface EndpointProblem {
  /** "namespace/name address:port" */
  readonly endpoint: string;
  readonly reason: string;
}

type RetiredListener = (endpointKey: string, address: string) => void;

export class Backends {
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #retired = new Set<RetiredListener>();
  readonly #problems = new Set<() => void>();
  #ports = new Map<string, ServicePort>();

  /** `now` in ms, the same clock as the one given to order(). */
  constructor(now: () => number = Date.now, random: () => number = Math.random) {
    this.#now = now;
    this.#random = random;
  }

  /** Makes the live side equal to `plan`. What stays keeps its counts, failures, cursor and affinity. */
  update(plan: ForwardingPlan): void {
    const wanted = new Map<string, PlanEndpoint>();
    for (const { ports } of plan.services) {
      for (const { external } of ports) for (const endpoint of external) wanted.set(endpointId(endpoint), endpoint);
    }
    const retired: Endpoint[] = [];
    for (const [id, endpoint] of this.#endpoints) {
      if (wanted.has(id)) continue;
      this.#endpoints.delete(id);
      // One that was terminating has been retired already.
      if (!endpoint.terminating) retired.push(endpoint);
    }
    for (const [id, planned] of wanted) {
      const endpoint = this.#endpoints.get(id);
      if (endpoint === undefined) {
        this.#endpoints.set(id, new Endpoint(planned, this.#now, () => this.#tellProblems()));
        continue;
      }
      endpoint.weight = planned.weight;
      if (endpoint.terminating === planned.terminating) continue;
      endpoint.terminating = planned.terminating;
      if (planned.terminating) retired.push(endpoint);
      else endpoint.forgive();
    }

    const ports = new Map<string, ServicePort>();
    for (const service of plan.services) {
      for (const port of service.ports) {
        if (port.protocol !== "TCP") continue;
        const id = portId(service.key, port.port);
        const endpoints = port.external
          .map((planned) => this.#endpoints.get(endpointId(planned)))
          .filter((endpoint) => endpoint !== undefined);
        ports.set(id, new ServicePort(service, port, endpoints, this.#random, this.#ports.get(id)));
      }
    }
    this.#ports = ports;

    // Last: listeners may look at the new state.
    for (const { key, address, port } of retired) {
      for (const listener of this.#retired) listener(key, hostPort(address, port));
    }
    if (retired.some(({ failures }) => isBroken(failures))) this.#tellProblems();
  }

  /** For tunnel streams: exposed Services only, so that a compromised edge reaches no other. */
  find(service: string, port: number): Backend | undefined {
    const found = this.#ports.get(portId(service, port));
    return found?.exposed ? found : undefined;
  }

  /** For probes: all TCP ports of an exposed Service, by number. No endpoint is chosen, so no affinity begins and no turn is spent. */
  lookUp(service: string): LookedUpPort[] {
    return [...this.#ports.values()]
      .filter((each) => each.exposed && each.service === service)
      .map(({ port, refusal, endpoints }) => ({
        port,
        ...(refusal === undefined ? {} : { refusal }),
        endpoints: endpoints.map(({ address, port: own, terminating, failures }) => ({
          ...{ address, port: own, terminating },
          broken: isBroken(failures),
        })),
      }))
      .sort((a, b) => a.port - b.port);
  }

  /** For the node's own NodePorts: any Service. */
  findNodePort(service: string, port: number): Backend | undefined {
    return this.#ports.get(portId(service, port));
  }

  /**
   * An endpoint left the plan or turned terminating: drop pooled connections to `address` ("10.1.2.3:80", "[fd00::1]:80")
   * at once. Requests in flight go on.
   */
  onRetired(listener: RetiredListener): Disposable {
    this.#retired.add(listener);
    return { [Symbol.dispose]: () => void this.#retired.delete(listener) };
  }

  /** Exposed endpoints that failed so often that they come last, until one answer. Sorted. */
  problems(): EndpointProblem[] {
    return [...this.#ports.values()]
      .filter(({ exposed }) => exposed)
      .flatMap(({ service, endpoints }) =>
        endpoints
          .filter(({ failures }) => isBroken(failures))
          .map(({ address, port, failures }) => ({
            endpoint: `${service} ${hostPort(address, port)}`,
            reason: `failed ${ENDPOINT_RULES.failures} times in a row or more, the last: ${failures.why}`,
          })),
      )
      .sort((a, b) => (a.endpoint < b.endpoint ? -1 : 1));
  }

  /** Called after problems() changed. */
  onProblems(listener: () => void): Disposable {
    this.#problems.add(listener);
    return { [Symbol.dispose]: () => void this.#problems.delete(listener) };
  }

  #tellProblems(): void {
    for (const listener of this.#problems) listener();
  }
}

const affinityOrder = new SourceHash();

/** One Service port under one plan. Takes balancer and affinity over from its predecessor where they still fit. */
class ServicePort implements Backend {
  readonly service: string;
  readonly port: number;
  readonly exposed: boolean;
  readonly refusal?: string;
  readonly externalName?: string;
  readonly endpoints: readonly Endpoint[];
  readonly sourceAllowed: (client: string) => boolean;
  readonly #plan: PlanService;
  readonly #random: () => number;
  readonly #balancer: Balancer;
  readonly #affinity: Affinity | undefined;

  constructor(
    plan: PlanService,
    port: PlanPort,
    endpoints: readonly Endpoint[],
    random: () => number,
    before: ServicePort | undefined,
  ) {
    this.#plan = plan;
    this.service = plan.key;
    this.port = port.port;
    this.exposed = plan.exposed;
    if (port.refusal !== undefined) this.refusal = port.refusal;
    if (plan.externalName !== undefined) this.externalName = plan.externalName;
    this.endpoints = endpoints;
    this.sourceAllowed = compileRanges(plan.sourceRanges)?.include ?? (() => true);
    this.#random = random;
    const same = before !== undefined && before.#plan.algorithm === plan.algorithm;
    // What userspace cannot do is dealt at random, and a condition of the Service says so.
    this.#balancer = same ? before.#balancer : (createEndpointBalancer(plan.algorithm) ?? new Random());
    const seconds = plan.affinitySeconds;
    if (before !== undefined && before.#plan.affinitySeconds === seconds) this.#affinity = before.#affinity;
    else this.#affinity = seconds === undefined ? undefined : new Affinity(seconds);
  }

  *order(client: string, now: number): Iterable<EndpointState> {
    const context = { now, random: this.#random, client: clientHash(client) };
    // Balancers never see health: they are given who is available; the ejected come after all others.
    const ejected = this.endpoints.filter((endpoint) => endpoint.isEjected(now));
    const available =
      ejected.length === 0 ? this.endpoints : this.endpoints.filter((endpoint) => !endpoint.isEjected(now));
    // An unknown client has no affinity: all unknown ones would share one pod.
    const affinity = client === "" ? undefined : this.#affinity;
    if (affinity === undefined) {
      yield* this.#balancer.order(available, context);
      yield* ejected;
      return;
    }
    const kept = affinity.get(client, now);
    const first = available.find(({ key }) => key === kept);
    for (const endpoint of keptFirst(first, affinityOrder.order(available, context), ejected)) {
      // Whoever is taken last is the one that served: taking the next one means that this one could not.
      affinity.set(client, endpoint.key, now);
      yield endpoint;
    }
  }
}

function* keptFirst<E>(kept: E | undefined, order: Iterable<E>, ejected: readonly E[]): Iterable<E> {
  if (kept !== undefined) yield kept;
  for (const endpoint of order) if (endpoint !== kept) yield endpoint;
  yield* ejected;
}

const portId = (service: string, port: number): string => `${service}:${port}`;
const endpointId = ({ key, address, port }: PlanEndpoint): string => `${key} ${hostPort(address, port)}`;
