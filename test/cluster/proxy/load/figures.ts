// What was counted of one case, summed up, judged beside kube-proxy's, and printed. Pure.
import { families } from "../row.ts";
import type { Asked, Counts } from "./messages.ts";
import type { ProgramName } from "../programs.ts";
import type { Said } from "./scene.ts";

export interface Figures {
  readonly connections: number;
  readonly failed: number;
  readonly synsAgain: number;
  readonly streams: number;
  readonly streamsLost: number;
  readonly silenceMs: number;
  readonly questions: number;
  readonly questionsLost: number;
  readonly flowQuestions: number;
  readonly flowQuestionsLost: number;
  readonly slowestMs: number;
}

export interface Played {
  readonly case: string;
  readonly side: ProgramName;
  readonly counts: ReadonlyMap<string, Counts>;
  readonly slowestMs: number;
  readonly removals: number;
  readonly said: readonly Said[];
}

export const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0);

export function figuresOf({ counts, slowestMs }: Played): Figures {
  const all = [...counts.values()];
  const total = (of: (counts: Counts) => number): number => all.reduce((before, each) => before + of(each), 0);
  const lost = (of: (counts: Counts) => Asked): number => total((each) => sum(of(each).failed));
  return {
    connections: total(({ connections }) => connections.asked),
    failed: lost(({ connections }) => connections),
    synsAgain: total(({ synsAgain }) => synsAgain),
    streams: total(({ streams }) => streams.opened),
    streamsLost: total(({ streams }) => sum(streams.lost)),
    silenceMs: Math.max(...all.map(({ streams }) => streams.silenceMs)),
    questions: total(({ questions }) => questions.asked),
    questionsLost: lost(({ questions }) => questions),
    flowQuestions: total(({ flows }) => flows.asked),
    flowQuestionsLost: lost(({ flows }) => flows),
    slowestMs,
  };
}

/** What must not be worse than kube-proxy's. */
const judged = {
  failed: "new connections failed",
  streamsLost: "connections that carried bytes were lost",
  questionsLost: "questions by UDP were lost",
  flowQuestionsLost: "questions of flows of UDP were lost",
} as const;
/** Of a program that loses nothing, or of one that was not played. */
export const nothingLost: Pick<Figures, keyof typeof judged> = {
  ...{ failed: 0, streamsLost: 0, questionsLost: 0, flowQuestionsLost: 0 },
};
/**
 * When its endpoint goes a flow is led to another one by the removal of its entry. The answer to a question that is under way
 * then finds no entry and is lost: one for each flow and change, with any program.
 */
const inevitable = ({ counts, removals }: Played): number => counts.size * families.length * removals;

/** In words; `reference`: kube-proxy's of the same case, against which nothing of its own is judged. */
export function faultsOf(played: Played, its: Figures, reference: typeof nothingLost | undefined): readonly string[] {
  const wrong = played.said.filter(({ right }) => !right).map(({ check, seen }) => `${check}: ${seen}`);
  if (reference === undefined) return wrong;
  const keys = Object.keys(judged) as (keyof typeof judged)[];
  const allowed = (key: keyof typeof judged): number =>
    key === "flowQuestionsLost" ? Math.max(reference[key], inevitable(played)) : reference[key];
  const worse = keys.filter((key) => its[key] > allowed(key));
  return [...wrong, ...worse.map((key) => `${its[key]} ${judged[key]}, of kube-proxy's ${reference[key]}`)];
}

const columns: readonly (readonly [title: string, of: (figures: Figures) => string])[] = [
  ["new TCP: failed", ({ failed, connections }) => `${failed} of ${connections}`],
  ["SYNs again", ({ synsAgain }) => String(synsAgain)],
  ["kept TCP: lost", ({ streams, streamsLost }) => `${streamsLost} of ${streams}`],
  ["longest silence", ({ silenceMs }) => `${silenceMs} ms`],
  ["UDP: lost", ({ questions, questionsLost }) => `${questionsLost} of ${questions}`],
  ["UDP flows: lost", ({ flowQuestions, flowQuestionsLost }) => `${flowQuestionsLost} of ${flowQuestions}`],
  ["slowest change", ({ slowestMs }) => `${slowestMs} ms`],
];
const WIDTHS = [34, 11, ...columns.map(([title]) => Math.max(title.length, 12))];
const line = (cells: readonly string[]): string =>
  cells
    .map((cell, index) => cell.padEnd(WIDTHS[index] ?? 0))
    .join("  ")
    .trimEnd();

export const heading = (): string => line(["", "", ...columns.map(([title]) => title)]);

export function printed(played: Played, figures: Figures, faults: readonly string[]): string {
  const row = line([played.case, played.side, ...columns.map(([, of]) => of(figures))]);
  return [
    row,
    ...faults.map((fault) => `  WRONG  ${fault}`),
    ...lossesOf(played).map((loss) => `         ${loss}`),
  ].join("\n");
}

/** So many lines of losses are printed by way; of more only the sums. */
const LINES = 8;

/** "a2 → ClusterIP, new TCP: IPv4 ECONNREFUSED ×3". */
function lossesOf({ counts }: Played): string[] {
  const losses = [...counts].flatMap(([way, { connections, streams, questions, flows }]) =>
    Object.entries({
      "new TCP": connections.failed,
      "kept TCP": streams.lost,
      UDP: questions.failed,
      "UDP flows": flows.failed,
    }).flatMap(([what, reasons]) => Object.entries(reasons).map(([reason, times]) => ({ way, what, reason, times }))),
  );
  if (losses.length <= LINES)
    return losses.map(({ way, what, reason, times }) => `${way}, ${what}: ${reason} ×${times}`);
  const sums = new Map<string, number>();
  for (const { what, reason, times } of losses) {
    const key = `${what}: ${reason}`;
    sums.set(key, (sums.get(key) ?? 0) + times);
  }
  return [...sums].map(([key, times]) => `${key} ×${times}`);
}
