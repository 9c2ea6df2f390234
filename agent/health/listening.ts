// Whether anything listens where a Service's targetPort says. Kubernetes does not know: its slices carry a number that
// somebody wrote, and the pods are ready. Opens a TCP connection to ready endpoints of each exposed Service port until one
// accepts, and closes it at once; nothing is sent, and a port that was accepted once is left alone. Only refusals count, a few
// in a row: a time-out may be the network's fault. Used by the leader alone. Survives a restart: nothing.
import { connect } from "node:net";
import type { SnapshotService } from "../../src/wire/snapshot.ts";

/** Dials one endpoint. "unclear": neither the one nor the other. */
export type Knock = (address: string, port: number) => Promise<"accepts" | "refuses" | "unclear">;

export interface ListeningOptions {
  /** Called when `silent` has changed. */
  readonly onChange: () => void;
  readonly knock?: Knock;
  /** Milliseconds between attempts: until it is believed, and afterwards. */
  readonly again?: { readonly soonMs: number; readonly laterMs: number };
}

const REFUSALS = 3;
const AT_ONCE = 16;
/** A Service of a thousand pods need not be refused by all of them. */
const ENDPOINTS_MAX = 8;
const TIMEOUT_MS = 2_000;

interface Target {
  readonly address: string;
  readonly port: number;
  refusals: number;
  /** Accepted, or unclear: not asked again. */
  settled: boolean;
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
  #ports = new Map<string, ServicePort>();
  readonly #waiting = new Set<ServicePort>();
  #running = 0;
  #silent: ReadonlyMap<string, readonly number[]> = new Map();
  #stopped = false;

  constructor({ onChange, knock = tcpKnock, again = { soonMs: 1_000, laterMs: 30_000 } }: ListeningOptions) {
    this.#options = { onChange, knock, again };
  }

  /** "namespace/name" → those of its ports at which ready endpoints refuse connections. */
  get silent(): ReadonlyMap<string, readonly number[]> {
    return this.#silent;
  }

  /** Replaces what is looked at. */
  watch(services: readonly SnapshotService[]): void {
    const targets = new Map<string, Target>();
    const ports = new Map<string, ServicePort>();
    for (const [id, service, port, addresses] of readyEndpoints(services)) {
      const wanted = addresses.map(({ address, port: own }) => {
        const key = `${address} ${own}`;
        const target = targets.get(key) ??
          this.#targets.get(key) ?? { address, port: own, refusals: 0, settled: false };
        targets.set(key, target);
        return target;
      });
      const before = this.#ports.get(id);
      const same = before?.targets.length === wanted.length && wanted.every((each, at) => each === before.targets[at]);
      if (before !== undefined && same) {
        ports.set(id, before);
        continue;
      }
      const next: ServicePort = { service, port, targets: wanted, timer: undefined };
      ports.set(id, next);
      this.#waiting.add(next);
    }
    for (const [id, port] of this.#ports) if (ports.get(id) !== port) this.#forget(port);
    [this.#targets, this.#ports] = [targets, ports];
    this.#conclude();
    this.#pump();
  }

  stop(): void {
    this.#stopped = true;
    for (const port of this.#ports.values()) this.#forget(port);
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
      if (port.targets.some(({ settled }) => settled)) break;
      const answer = await this.#options.knock(target.address, target.port);
      target.settled = answer !== "refuses";
      target.refusals = target.settled ? 0 : target.refusals + 1;
    }
    if (this.#stopped || !this.#isCurrent(port)) return;
    this.#conclude();
    if (port.targets.some(({ settled }) => settled)) return;
    const { soonMs, laterMs } = this.#options.again;
    port.timer = setTimeout(
      () => {
        this.#waiting.add(port);
        this.#pump();
      },
      isSilent(port) ? laterMs : soonMs,
    );
  }

  #isCurrent(port: ServicePort): boolean {
    return this.#ports.get(portId(port.service, port.port)) === port;
  }

  #conclude(): void {
    const silent = new Map<string, number[]>();
    for (const port of this.#ports.values()) {
      if (isSilent(port)) silent.set(port.service, [...(silent.get(port.service) ?? []), port.port]);
    }
    if (JSON.stringify([...silent]) === JSON.stringify([...this.#silent])) return;
    this.#silent = silent;
    // Later: whoever calls watch() is in the midst of a publish.
    queueMicrotask(() => this.#options.onChange());
  }
}

const isSilent = ({ targets }: ServicePort): boolean =>
  targets.every(({ refusals, settled }) => !settled && refusals >= REFUSALS);

function* readyEndpoints(services: readonly SnapshotService[]) {
  for (const { namespace, name, kind, ports, endpoints } of services) {
    // Its address is a name, and its server none of the cluster's.
    if (kind === "ExternalName") continue;
    const service = `${namespace}/${name}`;
    for (const { port, protocol } of ports) {
      if (protocol !== "TCP") continue;
      const addresses = endpoints.flatMap(({ address, ready, ports: own }) => {
        const target = own[port];
        return ready && target !== undefined ? [{ address, port: target }] : [];
      });
      if (addresses.length > 0)
        yield [portId(service, port), service, port, addresses.slice(0, ENDPOINTS_MAX)] as const;
    }
  }
}

const portId = (service: string, port: number): string => `${service} ${port}`;

const tcpKnock: Knock = (address, port) =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port, timeout: TIMEOUT_MS });
    const end = (answer: Awaited<ReturnType<Knock>>): void => {
      // Not a FIN and half an hour of waiting: a server sees that nobody wants anything of it.
      socket.destroy();
      resolve(answer);
    };
    socket.on("connect", () => end("accepts"));
    socket.on("timeout", () => end("unclear"));
    socket.on("error", ({ code }: NodeJS.ErrnoException) => end(code === "ECONNREFUSED" ? "refuses" : "unclear"));
  });
