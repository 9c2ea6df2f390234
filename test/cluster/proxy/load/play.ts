// Plays all cases of load with kube-proxy, and beside it with the agent, in one world.
import { run } from "../../harness/command.ts";
import { inside } from "../../harness/places.ts";
import type { ServiceSpec } from "../objects.ts";
import { nodes } from "../places.ts";
import type { ProgramName } from "../programs.ts";
import type { Mode } from "../row.ts";
import type { World } from "../world.ts";
import { atFirst, type Case, cases } from "./cases.ts";
import { Crowd, LOAD_PORT } from "./crowd.ts";
import { faultsOf, type Figures, figuresOf, heading, nothingLost, type Played, printed } from "./figures.ts";
import { Scene } from "./scene.ts";

const SERVICE = "loaded";
export const loadServices: readonly ServiceSpec[] = [{ name: SERVICE, endpoints: atFirst, targetPort: LOAD_PORT }];

export interface LoadOptions {
  /** The agent is judged beside kube-proxy, which is judged alone. */
  readonly program: ProgramName;
  readonly mode: Mode;
  /** Cases whose name has it. */
  readonly only: string;
  readonly print: (text: string) => void;
}

/** Returns how many cases were right and wrong. */
export async function playLoad(
  world: World,
  { program, mode, only, print }: LoadOptions,
): Promise<{ right: number; wrong: number }> {
  const crowd = new Crowd(world.numberOf(SERVICE), world.patience);
  await crowd.start();
  const sums = { right: 0, wrong: 0 };
  print(heading());
  for (const each of cases.filter(({ name }) => name.includes(only))) {
    const playOn = (side: ProgramName): Promise<Played> =>
      playCase(each, new Scene({ world, crowd, side, mode, service: SERVICE }, atFirst));
    const judge = (played: Played, reference?: typeof nothingLost): Figures => {
      const figures = figuresOf(played);
      const faults = faultsOf(played, figures, reference);
      sums[faults.length === 0 ? "right" : "wrong"] += 1;
      print(printed(played, figures, faults));
      return figures;
    };
    if (program === "agent" && mode === "ipvs") {
      // In the virtual machine kube-proxy needs a quarter of an hour for a case. Who loses nothing need not be compared.
      const played = await playOn(program);
      const isWhole = faultsOf(played, figuresOf(played), nothingLost).length === 0;
      judge(played, isWhole ? nothingLost : judge(await playOn("kube-proxy")));
    } else {
      const reference = judge(await playOn("kube-proxy"));
      if (program === "agent") judge(await playOn(program), reference);
    }
  }
  return sums;
}

async function playCase({ name, before, play }: Case, scene: Scene): Promise<Played> {
  const { world, crowd, side, mode, said } = scene;
  const first = before?.(side, mode) ?? { program: side, mode };
  await world.stop();
  // A connection that left untranslated while there were no rules would lead whoever gets its port again the same way.
  await Promise.all(nodes.map((node) => run([...inside(node.name), "conntrack", "-F"])));
  await world.cluster.putEndpoints({ ...world.specOf(SERVICE), endpoints: atFirst });
  await world.start({}, first.mode, first.program);
  // So that nothing of who ran before serves.
  if (first.program === "kube-proxy") await scene.cleanAgents();
  await crowd.begin();
  await scene.answered();
  try {
    await play(scene);
    await scene.answered();
  } catch (error) {
    said.push({
      check: "played to its end",
      seen: error instanceof Error ? error.message : String(error),
      right: false,
    });
  }
  return {
    case: name,
    side,
    counts: await crowd.tell("end"),
    slowestMs: scene.slowestMs,
    removals: scene.removals,
    said,
  };
}
