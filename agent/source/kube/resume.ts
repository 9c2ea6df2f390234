// What to do after a list or a watch has ended. Pure: it takes how that ended and how often it failed, and returns the next step.
// A watch resumes from the last version it heard of, which costs the API server nothing; a new list is for when that is not
// possible (the version is too old) or not safe (what came could not be read, so something may have been missed).
import { type Backoff, jitteredBackoff } from "../../../src/shared/net/backoff.ts";
import { type Answer, describe } from "../../kube/api.ts";

export type Ending =
  /** The server ended it in good order, or the connection went; `heard`: it had sent something, or lived for a while. */
  | { readonly kind: "closed"; readonly heard: boolean }
  /** It said nothing for longer than it may live: the connection is half-open, and was cut. */
  | { readonly kind: "silent" }
  /** A line that is no event, or too long. */
  | { readonly kind: "malformed" }
  | Exclude<Answer, { kind: "ok" }>;

export interface Step {
  readonly do: "watch" | "list";
  readonly afterMs: number;
  /** Failures in a row, this one included. */
  readonly failures: number;
  /** What a person should know; undefined where all is well. */
  readonly problem: string | undefined;
}

export const backoff: Backoff = { firstMs: 250, maxMs: 30_000 };
/**
 * The longest pause while nobody answers at all: a try then costs the API server nothing, and a node that forwards by what it
 * heard before the API server went should hear the rest soon after it is back.
 */
const UNREACHABLE_MAX_MS = 5_000;
/**
 * How many of those failures count. One that starts refuses for a moment (403 until it has read the roles, 503): that must not be
 * waited out for as long as the time in which it was away.
 */
const UNREACHABLE_FAILURES_MAX = 5;
/** One lost connection is daily life (an API server restarts); said only where it goes on. */
const SAID_FROM = 3;

export function afterWatch(ending: Ending, failures: number, random: () => number, times = backoff): Step {
  switch (ending.kind) {
    case "closed":
      // Closed again and again without a word: something in between does not carry watches.
      return ending.heard
        ? { do: "watch", afterMs: 0, failures: 0, problem: undefined }
        : failed("watch", failures, "ends watches at once", SAID_FROM, random, times);
    case "silent":
      return { do: "watch", afterMs: 0, failures: 0, problem: undefined };
    case "malformed":
      return failed("list", failures, "sent what is no watch event; reading everything again", 0, random, times);
    default:
      return afterRefusal(ending, failures, "watch", random, times);
  }
}

export function afterList(
  answer: Exclude<Answer, { kind: "ok" }> | { readonly kind: "malformed" },
  failures: number,
  random: () => number,
  times = backoff,
): Step {
  if (answer.kind === "malformed") return failed("list", failures, "sent what is no list", 0, random, times);
  return afterRefusal(answer, failures, "list", random, times);
}

/** The API server does not have this kind of object. Nothing is wrong, but an upgrade may bring it. */
export function afterMissing(random: () => number, everyMs: number): Step {
  return { do: "list", afterMs: everyMs * (1 + random()), failures: 0, problem: undefined };
}

function afterRefusal(
  answer: Exclude<Answer, { kind: "ok" }>,
  failures: number,
  same: "watch" | "list",
  random: () => number,
  times: Backoff,
): Step {
  if (answer.kind === "unreachable") {
    const sooner = { ...times, maxMs: Math.min(times.maxMs, UNREACHABLE_MAX_MS) };
    const step = failed(same, failures, describe(answer), SAID_FROM, random, sooner);
    return { ...step, failures: Math.min(step.failures, Math.max(failures, UNREACHABLE_FAILURES_MAX)) };
  }
  // 410, in HTTP or within the stream: the version is no longer known. Not a failure, but not to be hurried either.
  if (answer.status === 410 || answer.reason === "Expired" || answer.reason === "Gone") {
    return { ...failed("list", failures, "", 0, random, times), problem: undefined };
  }
  const passing = answer.status >= 500 || answer.status === 429 || answer.status === 408;
  const step = failed(passing ? same : "list", failures, describe(answer), passing ? SAID_FROM : 0, random, times);
  return { ...step, afterMs: step.afterMs + answer.afterMs };
}

/** Full jitter: every agent of the cluster comes back at the same time. */
function failed(
  next: "watch" | "list",
  failures: number,
  problem: string,
  saidFrom: number,
  random: () => number,
  times: Backoff,
): Step {
  const count = failures + 1;
  return {
    do: next,
    afterMs: jitteredBackoff(failures, times, random),
    failures: count,
    problem: count > saidFrom ? problem : undefined,
  };
}
