// Figures: what one measurement gives, what several of them come to, and how the two programs compare. Pure.

/** In the order in which they are printed; `unit` is for people. Smaller is better in all of them. */
export const figures = {
  fullSyncMs: "full sync from empty, ms",
  fullSyncCpuS: "  processor time, s",
  fullSyncPeakMiB: "  peak memory with its tools, MiB",
  fullSyncStallMs: "  longest stall of another process, ms",
  restartMs: "restart over existing rules, ms",
  restartCpuS: "  processor time, s",
  restartPeakMiB: "  peak memory with its tools, MiB",
  restartStallMs: "  longest stall of another process, ms",
  addP50Ms: "one Service added (its slice is known), p50, ms",
  addCpuMs: "  processor time of each, ms",
  addStallMs: "  longest stall of another process, ms",
  createP50Ms: "one Service created (its slice comes 20 ms later), p50, ms",
  moveP50Ms: "one endpoint moved, p50, ms",
  moveP99Ms: "  p99, ms",
  moveCpuMs: "  processor time of each, ms",
  moveStallMs: "  longest stall of another process, ms",
  firstPacketP50Us: "first packet by ClusterIP, p50, µs",
  firstPacketP99Us: "  p99, µs",
  firstPacketAddedUs: "  more than directly, p50, µs",
} as const;
export type Figure = keyof typeof figures;

/** What was seen once; a phase that was not reached has nothing. */
export interface Measured {
  readonly fullSync?: Started;
  readonly restart?: Started & { readonly failed: number };
  readonly adds?: Changed;
  readonly creates?: Changed;
  readonly moves?: Changed;
  readonly firstPacket?: { readonly directUs: readonly number[]; readonly serviceUs: readonly number[] };
  /** Services that did not answer after a full sync. */
  readonly silent?: number;
  /** With no program at all, ms: what the machine itself does to another process. */
  readonly idleStallMs: number;
  /** Why it was not finished. */
  readonly gaveUp?: string;
  /** False: the machine had other work. */
  readonly quiet: boolean;
}

export interface Started {
  readonly ms: number;
  readonly cpuS: number;
  readonly peakMiB: number;
  readonly stallMs: number;
}

export interface Changed {
  readonly ms: readonly number[];
  readonly cpuMs: number;
  readonly stallMs: number;
}

export type Summary = { readonly [figure in Figure]: number | null };

export function percentile(values: readonly number[], share: number): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null;
}

/** Of an even number of values, the middle of the two in the middle: rounds are few. */
export function median(values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  const [below, above] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[Math.floor(sorted.length / 2)]];
  return below === undefined || above === undefined ? null : (below + above) / 2;
}

/** Several rounds: medians; of times that come many a round, percentiles over all rounds. */
export function summarize(rounds: readonly Measured[]): Summary {
  const present = <T>(pick: (round: Measured) => T | undefined): T[] =>
    rounds.flatMap((round) => {
      const found = pick(round);
      return found === undefined ? [] : [found];
    });
  const of = (pick: (round: Measured) => number | undefined): number | null => median(present(pick));
  const all = (pick: (round: Measured) => readonly number[] | undefined): number[] => present(pick).flat();
  const serviceUs = all(({ firstPacket }) => firstPacket?.serviceUs);
  const summary: Summary = {
    fullSyncMs: of(({ fullSync }) => fullSync?.ms),
    fullSyncCpuS: of(({ fullSync }) => fullSync?.cpuS),
    fullSyncPeakMiB: of(({ fullSync }) => fullSync?.peakMiB),
    fullSyncStallMs: of(({ fullSync }) => fullSync?.stallMs),
    restartMs: of(({ restart }) => restart?.ms),
    restartCpuS: of(({ restart }) => restart?.cpuS),
    restartPeakMiB: of(({ restart }) => restart?.peakMiB),
    restartStallMs: of(({ restart }) => restart?.stallMs),
    addP50Ms: median(all(({ adds }) => adds?.ms)),
    addCpuMs: of(({ adds }) => adds?.cpuMs),
    addStallMs: of(({ adds }) => adds?.stallMs),
    createP50Ms: median(all(({ creates }) => creates?.ms)),
    moveP50Ms: median(all(({ moves }) => moves?.ms)),
    moveP99Ms: percentile(
      all(({ moves }) => moves?.ms),
      0.99,
    ),
    moveCpuMs: of(({ moves }) => moves?.cpuMs),
    moveStallMs: of(({ moves }) => moves?.stallMs),
    firstPacketP50Us: median(serviceUs),
    firstPacketP99Us: percentile(serviceUs, 0.99),
    firstPacketAddedUs: of(({ firstPacket }) => {
      const [service, direct] = [median(firstPacket?.serviceUs ?? []), median(firstPacket?.directUs ?? [])];
      return service === null || direct === null ? undefined : service - direct;
    }),
  };
  return Object.fromEntries(Object.entries(summary).map(([name, value]) => [name, rounded(value)])) as Summary;
}

/** Ours by theirs: below 1 the agent needs less. Null where one of them has no figure, or one that is no more than noise. */
export function ratios(ours: Summary, theirs: Summary): Summary {
  const entries = (Object.keys(figures) as Figure[]).map((name) => {
    const [our, their] = [ours[name], theirs[name]];
    const hasRatio = our !== null && their !== null && our >= 0 && their > 0;
    return [name, hasRatio ? rounded(our / their) : null] as const;
  });
  return Object.fromEntries(entries) as Summary;
}

/** Four digits: more are noise. */
function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(4));
}
