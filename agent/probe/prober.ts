// Answers the edge's probes. The edge may be anybody's, so it is told nothing but what reports say, and cannot make this node work
// much: one question at a time, and few in a second. The shards of an edge ask the same at the same moment, and share one answer.
import type { NodeReport } from "../../src/shared/model/node-report.ts";
import { PROBE_MAX } from "../../src/shared/wire/limits.ts";
import { encodeJson, type ProbeQuestion } from "../../src/shared/wire/messages.ts";
import { type Bucket, spend } from "../controller/event-recorder.ts";

/** A report without what is of one question alone. */
export type Facts = Omit<NodeReport, "receivedAt" | "tookMs">;

/** Resolves with a report as JSON, PROBE_MAX bytes at most. Undefined: it is not answered now. */
export type AnswerProbe = (question: ProbeQuestion) => Promise<Uint8Array> | undefined;

export interface ProberOptions {
  /** Looks and dials; never rejects for what it finds. */
  readonly collect: (question: ProbeQuestion) => Promise<Facts>;
  /** Epoch ms. */
  readonly now?: () => number;
}

const RATE = { burst: 4, everyMs: 500 };
/** Who asks the same so soon after an answer is given that one. */
const FRESH_MS = 1_000;

interface Round {
  readonly service: string | undefined;
  readonly facts: Promise<Facts>;
  /** Epoch ms; undefined: it is under way. */
  endedAt: number | undefined;
}

export class Prober {
  readonly #options: ProberOptions;
  readonly #now: () => number;
  #round: Round | undefined;
  #bucket: Bucket | undefined;

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  readonly answer: AnswerProbe = (question) => {
    const receivedAt = this.#now();
    const facts = this.#factsFor(question, receivedAt);
    return facts?.then((found) => encodeFitting({ ...found, receivedAt, tookMs: this.#now() - receivedAt }));
  };

  #factsFor(question: ProbeQuestion, now: number): Promise<Facts> | undefined {
    const last = this.#round;
    const running = last !== undefined && last.endedAt === undefined;
    const fresh = last?.endedAt !== undefined && now - last.endedAt < FRESH_MS;
    if (last !== undefined && last.service === question.service && (running || fresh)) return last.facts;
    if (running) return undefined;
    const bucket = spend(this.#bucket, now, RATE);
    if (bucket === undefined) return undefined;
    this.#bucket = bucket;
    const facts = this.#options.collect(question);
    const round: Round = { service: question.service, facts, endedAt: undefined };
    const ended = (): void => void (round.endedAt = this.#now());
    facts.then(ended, ended);
    this.#round = round;
    return facts;
  }
}

/** Lists are halved until the report fits; what is left out is counted. */
export function encodeFitting(report: NodeReport): Uint8Array {
  let said = report;
  let bytes = encodeJson(said);
  while (bytes.length > PROBE_MAX && listed(said) > 0) {
    said = halved(said);
    bytes = encodeJson(said);
  }
  return bytes;
}

const listed = ({ kernel, source, brokenEndpoints }: NodeReport): number =>
  kernel.faults.length + source.problems.length + brokenEndpoints.length;

function halved(report: NodeReport): NodeReport {
  const { kernel, source, brokenEndpoints, brokenEndpointsLeftOut } = report;
  const half = <T>(list: readonly T[], leftOut: number): readonly [T[], number] => {
    const kept = list.slice(0, Math.floor(list.length / 2));
    return [kept, leftOut + list.length - kept.length];
  };
  const [faults, faultsLeftOut] = half(kernel.faults, kernel.faultsLeftOut);
  const [problems, problemsLeftOut] = half(source.problems, source.problemsLeftOut);
  const [broken, brokenLeftOut] = half(brokenEndpoints, brokenEndpointsLeftOut);
  return {
    ...report,
    kernel: { ...kernel, faults, faultsLeftOut },
    source: { ...source, problems, problemsLeftOut },
    brokenEndpoints: broken,
    brokenEndpointsLeftOut: brokenLeftOut,
  };
}
