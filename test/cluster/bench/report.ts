// One size and mode, as people and as programs read it. Pure.
import { type Figure, figures, type Measured, ratios, summarize, type Summary } from "./figures.ts";
import type { Mode, ProgramName } from "./programs.ts";

export interface Compared {
  readonly services: number;
  readonly mode: Mode;
  readonly programs: readonly Outcome[];
  /** Agent by kube-proxy; absent unless both were measured. */
  readonly ratios?: Summary;
}

export interface Outcome {
  readonly program: ProgramName;
  readonly figures: Summary;
  /** One for each round that did not come to its end. */
  readonly gaveUp: readonly string[];
  /** Services that did not answer after a full sync, in the worst round; null: it was never reached. */
  readonly silent: number | null;
  /** Connections to an untouched Service that failed while the program started again, in the worst round. */
  readonly failedInRestart: number | null;
  /** With no program at all, ms; the least of all rounds. */
  readonly idleStallMs: number;
  /** Rounds in which the machine had other work when they began. */
  readonly busyRounds: number;
}

export function compare(services: number, mode: Mode, rounds: ReadonlyMap<ProgramName, readonly Measured[]>): Compared {
  const programs = [...rounds].map(([program, all]) => outcomeOf(program, all));
  const [ours, theirs] = ["agent", "kube-proxy"].map((name) => programs.find(({ program }) => program === name));
  return {
    services,
    mode,
    programs,
    ...(ours === undefined || theirs === undefined ? {} : { ratios: ratios(ours.figures, theirs.figures) }),
  };
}

function outcomeOf(program: ProgramName, rounds: readonly Measured[]): Outcome {
  const worst = (values: readonly (number | undefined)[]): number | null => {
    const known = values.filter((value) => value !== undefined);
    return known.length === 0 ? null : Math.max(...known);
  };
  return {
    program,
    figures: summarize(rounds),
    gaveUp: rounds.flatMap(({ gaveUp }) => (gaveUp === undefined ? [] : [gaveUp])),
    silent: worst(rounds.map(({ silent }) => silent)),
    failedInRestart: worst(rounds.map(({ restart }) => restart?.failed)),
    idleStallMs: Math.min(...rounds.map(({ idleStallMs }) => idleStallMs)),
    busyRounds: rounds.filter(({ quiet }) => !quiet).length,
  };
}

export function printed({ services, mode, programs, ratios: compared }: Compared): string {
  const names = programs.map(({ program }) => program);
  const lines = [`\n${services} Services × 10 endpoints, ${mode}`, row("", [...names, ...(compared ? ["ratio"] : [])])];
  for (const [name, words] of Object.entries(figures) as [Figure, string][]) {
    const values = [...programs.map((each) => each.figures[name]), ...(compared ? [compared[name]] : [])];
    lines.push(row(words, values.map(shown)));
  }
  for (const { program, gaveUp, silent, failedInRestart, idleStallMs, busyRounds } of programs) {
    lines.push(
      `  ${program}: ${silent ?? "?"} Services silent after the full sync, ${failedInRestart ?? "?"} connections failed in the restart, longest stall without it ${shown(idleStallMs)} ms`,
    );
    if (busyRounds > 0) lines.push(`  ${program}: the machine had other work in ${busyRounds} rounds`);
    for (const reason of gaveUp) lines.push(`  ${program}: gave up: ${reason}`);
  }
  return lines.join("\n");
}

const row = (words: string, values: readonly string[]): string =>
  `  ${words.padEnd(64)}${values.map((value) => value.padStart(14)).join("")}`;

const shown = (value: number | null): string => (value === null ? "-" : String(value));
