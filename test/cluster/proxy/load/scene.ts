// What a case does and looks at while the load goes on.
import { run } from "../../harness/command.ts";
import { inside } from "../../harness/places.ts";
import type { Endpoint } from "../objects.ts";
import { nodes } from "../places.ts";
import type { ProgramName } from "../programs.ts";
import type { Mode } from "../row.ts";
import type { World } from "../world.ts";
import type { Crowd } from "./crowd.ts";
import { sum } from "./figures.ts";

/** Of each way; some tenths of a second. */
const ANSWERS = 40;

export interface Said {
  readonly check: string;
  readonly seen: string;
  readonly right: boolean;
}

export class Scene {
  readonly world: World;
  readonly crowd: Crowd;
  readonly side: ProgramName;
  readonly mode: Mode;
  readonly service: string;
  readonly said: Said[] = [];
  /** The longest time, ms, from a change of endpoints until all nodes had made it. */
  slowestMs = 0;
  /** How often endpoints were taken away. */
  removals = 0;
  #endpoints: readonly Endpoint[];

  /** `endpoints`: those that the Service has. */
  constructor(its: Pick<Scene, "world" | "crowd" | "side" | "mode" | "service">, endpoints: readonly Endpoint[]) {
    this.#endpoints = endpoints;
    ({ world: this.world, crowd: this.crowd, side: this.side, mode: this.mode, service: this.service } = its);
  }

  /**
   * Writes them; returns when all nodes forward so, and flows of UDP have been led away from what is gone: both programs do
   * that before they make the next change, and so a next one is waited for.
   */
  async put(endpoints: readonly Endpoint[]): Promise<void> {
    const began = performance.now();
    const usable = (list: readonly Endpoint[]): string[] =>
      list.flatMap((each) => (typeof each === "string" ? each : each.state === "ending" ? each.pod : []));
    if (usable(this.#endpoints).some((pod) => !usable(endpoints).includes(pod))) this.removals += 1;
    this.#endpoints = endpoints;
    await this.world.cluster.putEndpoints({ ...this.world.specOf(this.service), endpoints });
    await this.world.settled();
    this.slowestMs = Math.max(this.slowestMs, Math.round(performance.now() - began));
    await this.world.settled();
  }

  /** Until all ways have had some more answers. */
  async answered(): Promise<void> {
    await this.crowd.tell("forget names");
    await this.world.until("all ways are answered", async () =>
      [...(await this.crowd.tell("count")).values()].every(({ names }) => sum(names) >= ANSWERS),
    );
  }

  /** Who answers what is asked from now on. */
  async checkNames(expected: readonly string[]): Promise<void> {
    await this.answered();
    const counts = await this.crowd.tell("count");
    const seen = [...new Set([...counts.values()].flatMap(({ names }) => Object.keys(names)))].sort().join(" ");
    const wanted = [...expected].sort().join(" ");
    this.said.push({ check: `answers come from ${wanted}`, seen, right: seen === wanted });
  }

  async move(endpoints: readonly string[]): Promise<void> {
    await this.put(endpoints);
    await this.checkNames(endpoints);
  }

  /** The agents' rules go; kube-proxy runs already. */
  async cleanAgents(): Promise<void> {
    const cleaned = nodes.map(async ({ name }): Promise<Said[]> => {
      const text = await this.world.cleanAgents(name);
      // What the other modes make bears kube-proxy's names. The kernel of mode ipvs has no nftables.
      const hasTables = this.mode !== "ipvs";
      const tables = hasTables ? await run([...inside(name), "nft", "list", "tables"]) : "";
      const left = tables.split("\n").filter((line) => line.endsWith(" postern"));
      return [
        { check: `kube-proxy's rules stay on ${name}`, seen: text, right: text.includes("its rules stay") },
        { check: `of the agent is left on ${name}`, seen: left.join(", "), right: left.length === 0 },
      ];
    });
    this.said.push(...(await Promise.all(cleaned)).flat());
  }
}
