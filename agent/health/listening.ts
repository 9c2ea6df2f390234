// Whether anything listens where a Service's targetPort says. Kubernetes does not know: its slices carry a number that somebody
// wrote, and the pods are ready. This opens a TCP connection to ready endpoints of each exposed Service port until one accepts,
// and closes it at once. It sends nothing, and does not ask again at a port that accepted once. Only refusals count, REFUSALS in
// a row, because a time-out may be the network's fault. Only the leader uses it. Nothing survives a restart.
import type { SnapshotService } from "../../src/shared/model/snapshot.ts";
import { type ProbeTcp, probeTcp } from "../net/probe-tcp.ts";

export interface ListeningOptions {
  /** Called when `silent` has changed. */
  readonly onChange: () => void;
  readonly probe?: ProbeTcp;
  /** Milliseconds between attempts: before REFUSALS are reached, and afterwards. */
  readonly again?: { readonly soonMs: number; readonly laterMs: number };
}

const REFUSALS = 3;
const AT_ONCE = 16;
/** A Service of a thousand pods need not be refused by all of them. */
const ENDPOINTS_MAX = 8;

interface Target {
  readonly key: string;
  readonly address: string;
  readonly port: number;
  refusals: number;
  /** It accepted, or its answer was unclear. It is not asked again. */
  answered: boolean;
}

interface ServicePort {
  readonly service: string;
  readonly port: number;
  readonly targets: readonly Target[];
  timer: NodeJS.Timeout | undefined;
}

export class Listening {
  readonly #options: Required<ListeningOptions>;
  #targets = new Map<string, Target>();
  #services: ReadonlyMap<SnapshotService, readonly ServicePort[]> = new Map();
  /** The ports of all `#services`. */
  #current: ReadonlySet<ServicePort> = new Set();
  readonly #waiting = new Set<ServicePort>();
  #running = 0;
  #silent: ReadonlyMap<string, readonly number[]> = new Map();
  #stopped = false;

  constructor({ onChange, probe = probeTcp, again = { soonMs: 1_000, laterMs: 30_000 } }: ListeningOptions) {
    this.#options = { onChange, probe, again };
  }

  /** "namespace/name" → those of its ports at which ready endpoints refuse connections. */
  get silent(): ReadonlyMap<string, readonly number[]> {
    return this.#silent;
  }

  /** Replaces what is watched. A Service that is the same object as before costs nothing. */
  watch(services: readonly SnapshotService[]): void {
    const before = new Map([...this.#services.values()].flat().map((port) => [portId(port), port]));
    const watched = new Map<SnapshotService, readonly ServicePort[]>();
    const targets = new Map<string, Target>();
    for (const service of services) {
      const ports = this.#services.get(service) ?? this.#portsOf(service, before);
      watched.set(service, ports);
      for (const port of ports) for (const target of port.targets) targets.set(target.key, target);
    }
    [this.#targets, this.#services] = [targets, watched];
    this.#current = new Set([...watched.values()].flat());
    for (const port of before.values()) if (!this.#current.has(port)) this.#forget(port);
    this.#conclude();
    this.#pump();
  }

  /** A port whose targets are the same as before keeps its state. The others are asked. */
  #portsOf(service: SnapshotService, before: ReadonlyMap<string, ServicePort>): readonly ServicePort[] {
    return readyEndpoints(service).map((wanted) => {
      const targets = wanted.addresses.map(({ address, port }) => {
        const key = `${address} ${port}`;
        const known = this.#targets.get(key) ?? { key, address, port, refusals: 0, answered: false };
        this.#targets.set(key, known);
        return known;
      });
      const same = before.get(portId(wanted));
      if (same?.targets.length === targets.length && targets.every((each, at) => each === same.targets[at]))
        return same;
      const { service: name, port } = wanted;
      const next: ServicePort = { service: name, port, targets, timer: undefined };
      this.#waiting.add(next);
      return next;
    });
  }

  stop(): void {
    this.#stopped = true;
    for (const port of this.#current) this.#forget(port);
  }

  #forget(port: ServicePort): void {
    clearTimeout(port.timer);
    this.#waiting.delete(port);
  }

  #pump(): void {
    for (const port of this.#waiting) {
      if (this.#running >= AT_ONCE || this.#stopped) return;
      this.#waiting.delete(port);
      this.#running++;
      void this.#ask(port).finally(() => {
        this.#running--;
        this.#pump();
      });
    }
  }

  async #ask(port: ServicePort): Promise<void> {
    for (const target of port.targets) {
      if (port.targets.some(({ answered }) => answered)) break;
      const answer = await this.#options.probe(target.address, target.port);
      target.answered = answer !== "refuses";
      target.refusals = target.answered ? 0 : target.refusals + 1;
    }
    if (this.#stopped || !this.#current.has(port)) return;
    this.#conclude();
    if (port.targets.some(({ answered }) => answered)) return;
    const { soonMs, laterMs } = this.#options.again;
    port.timer = setTimeout(
      () => {
        this.#waiting.add(port);
        this.#pump();
      },
      isSilent(port) ? laterMs : soonMs,
    );
  }

  #conclude(): void {
    const silent = new Map<string, number[]>();
    for (const port of this.#current) {
      if (isSilent(port)) silent.set(port.service, [...(silent.get(port.service) ?? []), port.port]);
    }
    if (JSON.stringify([...silent]) === JSON.stringify([...this.#silent])) return;
    this.#silent = silent;
    // Later, because the caller of watch() is in the midst of building a snapshot.
    queueMicrotask(() => this.#options.onChange());
  }
}

const isSilent = ({ targets }: ServicePort): boolean =>
  targets.every(({ refusals, answered }) => !answered && refusals >= REFUSALS);

interface Ready {
  readonly service: string;
  readonly port: number;
  readonly addresses: readonly { readonly address: string; readonly port: number }[];
}

function readyEndpoints({ namespace, name, kind, ports, endpoints }: SnapshotService): readonly Ready[] {
  // Its address is a name, and its server does not belong to the cluster.
  if (kind === "ExternalName") return [];
  return ports.flatMap(({ port, protocol }) => {
    if (protocol !== "TCP") return [];
    const addresses = endpoints.flatMap(({ address, ready, ports: own }) => {
      const target = own[port];
      return ready && target !== undefined ? [{ address, port: target }] : [];
    });
    if (addresses.length === 0) return [];
    return [{ service: `${namespace}/${name}`, port, addresses: addresses.slice(0, ENDPOINTS_MAX) }];
  });
}

const portId = ({ service, port }: Pick<ServicePort, "service" | "port">): string => `${service} ${port}`;
