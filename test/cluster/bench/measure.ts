// One measurement: one program, one mode, one size, all phases. A phase that does not come to its end within the limit is
// given up, and so are those after it; what was measured before stays.
import { setTimeout as pause } from "node:timers/promises";
import { now } from "./clock.ts";
import type { Changed, Measured, Started } from "./figures.ts";
import { clusterIp, endpointAddress, spareAddress } from "./places.ts";
import { Program } from "./program.ts";
import { commandOf, type ProgramName, type Setting } from "./programs.ts";
import { Stage, untilQuiet } from "./stage.ts";
import { ENDPOINTS_EACH } from "./stand-in/objects.ts";

export interface Plan {
  readonly program: ProgramName;
  readonly setting: Setting;
  readonly services: number;
  readonly adds: number;
  readonly moves: number;
  /** First packets, each way. */
  readonly packets: number;
  /** Of one phase, ms. */
  readonly limitMs: number;
  /** From a change that has come to the next one, ms. */
  readonly paceMs: number;
}

/** So many Services must answer for a full sync to be complete; afterwards each of them is asked once. */
const SAMPLE = 32;
const IDLE_MS = 2_000;

export async function measure(plan: Plan, say: (line: string) => void): Promise<Measured> {
  const stage = await Stage.make(plan.services);
  const quiet = await untilQuiet();
  await stage.longestStallMs();
  await pause(IDLE_MS);
  const measured: { -readonly [name in keyof Measured]: Measured[name] } = {
    idleStallMs: await stage.longestStallMs(),
    quiet,
  };
  const phases = new Phases(stage, plan);
  try {
    measured.fullSync = await phases.fullSync();
    say(`full sync ${Math.round(measured.fullSync.ms)} ms`);
    measured.silent = await phases.silent();
    if (measured.silent > 0) say(`${measured.silent} Services do not answer`);
    measured.firstPacket = await phases.firstPacket();
    measured.adds = await phases.adds();
    say(`added: ${measured.adds.ms.map(Math.round).join(" ")} ms`);
    measured.creates = await phases.creates();
    say(`created: ${measured.creates.ms.map(Math.round).join(" ")} ms`);
    measured.moves = await phases.moves();
    say(`moved: ${measured.moves.ms.map(Math.round).join(" ")} ms`);
    measured.restart = await phases.restart();
    say(`restart ${Math.round(measured.restart.ms)} ms, ${measured.restart.failed} connections failed meanwhile`);
  } catch (error) {
    measured.gaveUp = (error as Error).message;
    say(`gave up: ${measured.gaveUp}`);
  } finally {
    await phases.end();
    await stage.end();
  }
  return measured;
}

class Phases {
  readonly #stage: Stage;
  readonly #plan: Plan;
  readonly #log: string;
  #program: Program | undefined;
  #services: number;
  #spares = 0;

  constructor(stage: Stage, plan: Plan) {
    this.#stage = stage;
    this.#plan = plan;
    this.#services = plan.services;
    this.#log = `${plan.setting.folder}/${plan.program}-${plan.setting.mode}-${plan.services}.log`;
  }

  /** From the start of the program until Services out of all the cluster answer. */
  async fullSync(): Promise<Started> {
    return await this.#startUntil(
      "full sync",
      this.#sample().map((address) => ({ address })),
    );
  }

  async silent(): Promise<number> {
    return (await this.#stage.client.ask({ do: "sweep", services: this.#plan.services })).silent;
  }

  async firstPacket(): Promise<NonNullable<Measured["firstPacket"]>> {
    await untilQuiet();
    const command = { services: this.#sample(), direct: endpointAddress(0), count: this.#plan.packets };
    return await this.#stage.client.ask({ do: "latency", ...command });
  }

  /** Their slices are known already, so that one sync is enough: what it takes, and nothing of how syncs are spaced. */
  async adds(): Promise<Changed> {
    const first = this.#services;
    this.#services += this.#plan.adds;
    for (let service = first; service < this.#services; service++) {
      await this.#stage.api.ask({ do: "add", what: "slice", service });
    }
    await pause(this.#plan.paceMs);
    return await this.#changes("a Service added", this.#plan.adds, (index) => {
      const service = first + index;
      return { target: { address: clusterIp(service) }, change: { do: "add", what: "service", service } };
    });
  }

  /** What a user waits for: the slice comes when the program has perhaps begun to write the Service without it. */
  async creates(): Promise<Changed> {
    return await this.#changes("a Service created", this.#plan.adds, () => {
      const service = this.#services++;
      return { target: { address: clusterIp(service) }, change: { do: "create", service } };
    });
  }

  /** Each time another Service, and another one of its endpoints. */
  async moves(): Promise<Changed> {
    return await this.#changes("an endpoint moved", this.#plan.moves, (index) => this.#nextMove(index));
  }

  /** Killed, and started again after two changes that it did not hear of; until both have come. */
  async restart(): Promise<Started & { readonly failed: number }> {
    await untilQuiet();
    await this.#program?.kill();
    const added = this.#services++;
    const { target, change } = this.#nextMove(this.#plan.moves);
    for (const what of ["slice", "service"] as const) await this.#stage.api.ask({ do: "add", what, service: added });
    await this.#stage.api.ask(change);
    // What was there before must answer all the time.
    await this.#stage.client.ask({ do: "steady", address: clusterIp(0) });
    const started = await this.#startUntil("restart", [{ address: clusterIp(added) }, target]);
    const { failed } = await this.#stage.client.ask({ do: "end-steady" });
    return { ...started, failed };
  }

  async end(): Promise<void> {
    await this.#program?.kill();
  }

  #nextMove(index: number) {
    const [service, place, spare] = [index % this.#plan.services, index % ENDPOINTS_EACH, this.#spares++];
    return {
      target: { address: clusterIp(service), wanted: spareAddress(spare) },
      change: { do: "move" as const, service, place, spare },
    };
  }

  /** The last one, the first one, and some in between. */
  #sample(): string[] {
    const { services } = this.#plan;
    const count = Math.min(services, SAMPLE);
    return Array.from({ length: count }, (_, index) =>
      clusterIp(services - 1 - Math.floor((index * services) / count)),
    );
  }

  async #startUntil(what: string, targets: readonly Target[]): Promise<Started> {
    await this.#stage.longestStallMs();
    const program = new Program(commandOf(this.#plan.program, this.#plan.setting), this.#log);
    this.#program = program;
    const at = await this.#until(what, targets);
    const [cpuS, peakMiB] = [program.cpuS, program.peakMiB];
    return { ms: at - program.startedAt, cpuS, peakMiB, stallMs: await this.#stage.longestStallMs() };
  }

  /** When all of them have answered. */
  async #until(what: string, targets: readonly Target[]): Promise<number> {
    const { limitMs } = this.#plan;
    const answered = this.#stage.client.ask({ do: "until", targets: [...targets], limitMs });
    const { at } = await Promise.race([answered, this.#running().ended]);
    if (at === undefined) throw new Error(`${what}: not within ${limitMs / 1000} s`);
    return at;
  }

  async #changes(
    what: string,
    count: number,
    next: (index: number) => { target: Target; change: Change },
  ): Promise<Changed> {
    await untilQuiet();
    const program = this.#running();
    await this.#stage.longestStallMs();
    const [cpuBefore, began] = [program.cpuS, now()];
    const ms: number[] = [];
    for (let index = 0; index < count; index++) {
      const { target, change } = next(index);
      // Asked already when the change comes.
      const until = this.#until(what, [target]);
      const { at } = await this.#stage.api.ask(change);
      ms.push((await until) - at);
      await pause(this.#plan.paceMs);
      // So that a whole phase, too, has an end.
      if (now() - began > this.#plan.limitMs) break;
    }
    const cpuMs = ((program.cpuS - cpuBefore) * 1000) / ms.length;
    return { ms, cpuMs, stallMs: await this.#stage.longestStallMs() };
  }

  #running(): Program {
    if (this.#program === undefined) throw new Error("no program has been started");
    return this.#program;
  }
}

interface Target {
  readonly address: string;
  readonly wanted?: string;
}
type Change =
  | { readonly do: "add"; readonly what: "service" | "slice"; readonly service: number }
  | { readonly do: "create"; readonly service: number }
  | { readonly do: "move"; readonly service: number; readonly place: number; readonly spare: number };
