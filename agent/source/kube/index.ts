// The kube source: Services, EndpointSlices and Nodes of one API server, and ServiceCIDRs where they are wanted, each listed and
// then watched; nothing is polled. Delivers nothing before the first three were read once and the fourth was asked for; merges bursts, the more the longer its listener takes, so that a busy
// cluster never keeps the agent from its streams. A lost API server keeps the last state.
import { isDeepStrictEqual } from "node:util";
import type { KubeApi } from "../../kube/api.ts";
import type { KubeEndpointSlice, KubeNode, KubeService, KubeServiceCIDR } from "../resources.ts";
import type { Observed, Source, SourceProblem } from "../source.ts";
import { ListWatch, type Times, times } from "./list-watch.ts";
import { type Kind, kinds, serviceCIDRs } from "./objects.ts";
import { SortedObjects } from "./sorted-objects.ts";

/** The first change waits so long for those that come with it. */
const BURST_MS = 15;
/** Delivering takes at most a tenth of the time, but for the first time: all is new then, which says nothing of what a change costs. */
const REST = 9;

export interface KubeSourceOptions {
  readonly api: KubeApi;
  /** Also ServiceCIDRs, which an agent that leaves the kernel alone has no right to read. */
  readonly withServiceCIDRs?: boolean;
  readonly random?: () => number;
  readonly times?: Times;
}

export function kubeSource(options: KubeSourceOptions): Source {
  const { api, withServiceCIDRs = false, random = Math.random, times: given = times } = options;
  const wanted = { api, kinds: withServiceCIDRs ? [...kinds, serviceCIDRs] : kinds, random, times: given };
  return {
    subscribe(listener, onProblems = () => undefined) {
      const observation = new Observation(wanted, listener, onProblems);
      return { [Symbol.dispose]: () => observation.stop() };
    },
  };
}

interface Wanted {
  readonly api: KubeApi;
  readonly kinds: readonly Kind[];
  readonly random: () => number;
  readonly times: Times;
}

class Observation {
  readonly #listener: (observed: Observed) => void;
  readonly #onProblems: (problems: readonly SourceProblem[]) => void;
  readonly #watches: readonly ListWatch[];
  /** Of each kind. */
  readonly #sorted: readonly SortedObjects[];
  #problems: readonly SourceProblem[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** Undefined before the first delivery. */
  #restUntil: number | undefined;
  #stopped = false;

  constructor(
    { api, kinds: watched, ...options }: Wanted,
    listener: (observed: Observed) => void,
    onProblems: (problems: readonly SourceProblem[]) => void,
  ) {
    this.#listener = listener;
    this.#onProblems = onProblems;
    this.#sorted = watched.map(() => new SortedObjects());
    this.#watches = watched.map(
      (kind, index) => new ListWatch(api, kind, (what, key) => this.#changed(index, what, key), options),
    );
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const watch of this.#watches) watch.stop();
  }

  #changed(index: number, what: "objects" | "problems", key: string | undefined): void {
    if (what === "objects") this.#sorted[index]?.changed(key);
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => this.#deliver(), Math.max(BURST_MS, (this.#restUntil ?? 0) - performance.now()));
  }

  #deliver(): void {
    this.#timer = undefined;
    const problems = this.#watches.flatMap((watch) => watch.problems);
    if (!isDeepStrictEqual(problems, this.#problems)) {
      this.#problems = problems;
      this.#onProblems(problems);
    }
    // Problems alone are no news of objects.
    if (this.#stopped || !this.#watches.every(({ settled }) => settled)) return;
    if (this.#sorted.every(({ isFresh }) => isFresh)) return;
    const [services = [], endpointSlices = [], nodes = [], cidrs = []] = this.#watches.map(({ objects }, index) =>
      this.#sorted[index]?.read(objects),
    );
    const began = performance.now();
    this.#listener({
      services: services as readonly KubeService[],
      endpointSlices: endpointSlices as readonly KubeEndpointSlice[],
      nodes: nodes as readonly KubeNode[],
      serviceCIDRs: cidrs as readonly KubeServiceCIDR[],
    });
    const now = performance.now();
    this.#restUntil = this.#restUntil === undefined ? now : now + (now - began) * REST;
  }
}
