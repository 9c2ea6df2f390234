// The client: a pod that asks Services by their ClusterIPs, and says when they answered. How often it asks is a share of the time
// that it has waited, so that what is short is seen exactly, and what is long is not slowed down by being watched.
import { setTimeout as pause } from "node:timers/promises";
import { ask } from "./asking.ts";
import { now } from "./clock.ts";
import { serveCommands } from "./helpers.ts";
import type { Answers } from "./messages.ts";
import { clusterIp, POD_PORT, SERVICE_PORT } from "./places.ts";

/** Between two looks, ms: at least and at most; in between a share of what has passed. */
const LOOK = { leastMs: 1, mostMs: 1_000, share: 1 / 32 };
/** A try that is dropped says nothing; so long it is given, ms, beside the next ones. */
const TRY_MS = 200;
/** Which of ten endpoints answers is chance: so many at once find one of them in more than half of the looks. */
const WANTED_AT_ONCE = 8;
const WANTED_LEAST_MS = 2;
const SWEEP_AT_ONCE = 16;
const SWEEP_TRY_MS = 3_000;
const STEADY_EVERY_MS = 5;
const STEADY_TRY_MS = 1_000;

interface Target {
  readonly address: string;
  readonly wanted?: string | undefined;
}

async function until(targets: readonly Target[], limitMs: number): Promise<Answers["until"]> {
  const started = now();
  let at: number | undefined;
  for (const target of targets) {
    at = await untilOne(target, started, limitMs);
    if (at === undefined) break;
  }
  return { at };
}

/** When it answered. */
async function untilOne({ address, wanted }: Target, started: number, limitMs: number): Promise<number | undefined> {
  const answers: number[] = [];
  const look = async (): Promise<void> => {
    const { answered, endpoint } = await ask(address, SERVICE_PORT, { withinMs: TRY_MS, listen: wanted !== undefined });
    if (answered && (wanted === undefined || endpoint === wanted)) answers.push(now());
  };
  const [atOnce, leastMs] = wanted === undefined ? [1, LOOK.leastMs] : [WANTED_AT_ONCE, WANTED_LEAST_MS];
  while (answers.length === 0 && now() - started < limitMs) {
    const looks = Promise.all(Array.from({ length: atOnce }, look));
    const gap = Math.min(LOOK.mostMs, Math.max(leastMs, (now() - started) * LOOK.share));
    // A try that is dropped says nothing until its time is up: the next ones do not wait for it.
    await Promise.race([looks, pause(gap)]);
    if (answers.length === 0) await pause(gap);
  }
  return answers[0];
}

async function sweep(services: number): Promise<Answers["sweep"]> {
  let [next, silent] = [0, 0];
  const worker = async (): Promise<void> => {
    while (next < services) {
      const { answered } = await ask(clusterIp(next++), SERVICE_PORT, { withinMs: SWEEP_TRY_MS });
      if (!answered) silent++;
    }
  };
  await Promise.all(Array.from({ length: SWEEP_AT_ONCE }, worker));
  return { silent };
}

async function latency(services: readonly string[], direct: string, count: number): Promise<Answers["latency"]> {
  const [directUs, serviceUs]: [number[], number[]] = [[], []];
  for (let index = 0; index < count; index++) {
    const service = services[index % services.length] ?? "";
    const turns = [
      async () => directUs.push((await ask(direct, POD_PORT, { withinMs: SWEEP_TRY_MS })).tookUs),
      async () => serviceUs.push((await ask(service, SERVICE_PORT, { withinMs: SWEEP_TRY_MS })).tookUs),
    ];
    for (const turn of index % 2 === 0 ? turns : turns.toReversed()) await turn();
  }
  return { directUs: directUs.filter(Number.isFinite), serviceUs: serviceUs.filter(Number.isFinite) };
}

/** Asks all the time until stop(). */
function steady(address: string): { stop(): Answers["end-steady"] } {
  let [asked, failed] = [0, 0];
  const look = async (): Promise<void> => {
    if (!(await ask(address, SERVICE_PORT, { withinMs: STEADY_TRY_MS })).answered) failed++;
  };
  const timer = setInterval(() => {
    asked++;
    void look();
  }, STEADY_EVERY_MS);
  return {
    stop: () => {
      clearInterval(timer);
      return { asked, failed };
    },
  };
}

let running: ReturnType<typeof steady> | undefined;
serveCommands((command) => {
  switch (command.do) {
    case "until":
      return until(command.targets, command.limitMs);
    case "sweep":
      return sweep(command.services);
    case "latency":
      return latency(command.services, command.direct, command.count);
    case "steady":
      running = steady(command.address);
      return {};
    case "end-steady":
      return running?.stop() ?? { asked: 0, failed: 0 };
    default:
      throw new Error(`no command for the client: ${command.do}`);
  }
});
