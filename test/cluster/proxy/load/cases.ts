// What happens to a cluster while its Services are asked: each case begins with a program on every node and load on all ways, does
// something, and ends with endpoints that moved, so that it is seen who forwards now.
import { setTimeout as delay } from "node:timers/promises";
import type { EndpointSpec } from "../objects.ts";
import type { ProgramName } from "../programs.ts";
import { type Mode, otherMode } from "../row.ts";
import type { Scene } from "./scene.ts";

export interface Case {
  readonly name: string;
  /** Who runs at first, where it is not the program under test in its mode. */
  readonly before?: (side: ProgramName, mode: Mode) => { readonly program: ProgramName; readonly mode: Mode };
  readonly play: (scene: Scene) => Promise<void>;
}

/** Long enough for connections to be refused, for repeated tries and for what waits between them; a minute shows nothing else. */
const API_AWAY_MS = 20_000;

export const atFirst = ["a1", "b1"];
const moved = ["b2", "c1"];

const inState = (pods: readonly string[], state: "ending" | "gone"): EndpointSpec[] =>
  pods.map((pod) => ({ pod, state }));

/** `old` end as pods do that Kubernetes terminates, and `fresh` come first. */
async function exchange(scene: Scene, old: readonly string[], fresh: readonly string[]): Promise<void> {
  if (fresh.length > 0) await scene.put([...old, ...fresh]);
  await terminate(scene, old, fresh);
}

/** They serve and are ending; then they serve for nobody new; then their servers finish. */
async function terminate(scene: Scene, old: readonly string[], staying: readonly string[]): Promise<void> {
  await scene.put([...inState(old, "ending"), ...staying]);
  await scene.put([...inState(old, "gone"), ...staying]);
  for (const pod of old) await scene.crowd.order(pod, "finish");
  await scene.put(staying);
  await scene.answered();
  for (const pod of old) await scene.crowd.order(pod, "serve");
}

export const cases: readonly Case[] = [
  {
    name: "pod rollout",
    play: async (scene) => {
      await exchange(scene, ["a1"], ["b1", "b2"]);
      await exchange(scene, ["b1"], ["b2", "c1"]);
      await scene.checkNames(["b2", "c1"]);
    },
  },
  {
    name: "node drain",
    play: async (scene) => {
      await scene.put(["a1", "b1", "b2", "c1"]);
      await terminate(scene, ["b1", "b2"], ["a1", "c1"]);
      await scene.checkNames(["a1", "c1"]);
    },
  },
  {
    name: "killed, started again",
    play: async (scene) => {
      await scene.world.kill();
      await scene.answered();
      await scene.world.start({}, scene.mode, scene.side);
      await scene.answered();
      await scene.move(moved);
    },
  },
  {
    name: "upgraded by surge",
    play: async (scene) => {
      await scene.world.replace(scene.side);
      await scene.answered();
      await scene.move(moved);
    },
  },
  {
    name: "other mode, and back",
    play: async (scene) => {
      await scene.world.start({}, otherMode(scene.mode), scene.side);
      await scene.move(moved);
      await scene.world.start({}, scene.mode, scene.side);
      await scene.move(atFirst);
    },
  },
  {
    name: "other mode by upgrade, and back",
    play: async (scene) => {
      const upgrade = async (mode: Mode, endpoints: readonly string[]): Promise<void> => {
        // kube-proxy's DaemonSet has no surge.
        if (scene.side === "kube-proxy") await scene.world.start({}, mode, scene.side);
        else await scene.world.replace(scene.side, mode, () => scene.put(endpoints));
        await scene.checkNames(scene.side === "kube-proxy" ? atFirst : endpoints);
      };
      await upgrade(otherMode(scene.mode), moved);
      await scene.move(atFirst);
      await upgrade(scene.mode, moved);
      await scene.move(atFirst);
    },
  },
  takeover("same mode", (mode) => mode),
  takeover("another mode", otherMode),
  returning("same mode", (mode) => mode),
  returning("another mode", otherMode),
  {
    name: "API server away",
    play: async (scene) => {
      await scene.world.apiAway();
      await delay(API_AWAY_MS);
      await scene.answered();
      await scene.world.apiBack();
      await scene.move(moved);
    },
  },
];

/** kube-proxy is there first. */
function takeover(name: string, former: (mode: Mode) => Mode): Case {
  return {
    name: `takes over, ${name}`,
    before: (_side, mode) => ({ program: "kube-proxy", mode: former(mode) }),
    play: async (scene) => {
      await scene.world.start({}, scene.mode, scene.side);
      await scene.move(moved);
    },
  };
}

/** kube-proxy is there afterwards. A case of its own: what kube-proxy loses when it starts would hide what is lost before. */
function returning(name: string, latter: (mode: Mode) => Mode): Case {
  return {
    name: `gives back, ${name}`,
    play: async (scene) => {
      await scene.world.start({}, latter(scene.mode), "kube-proxy");
      if (scene.side === "agent") await scene.cleanAgents();
      await scene.answered();
      await scene.move(moved);
    },
  };
}
