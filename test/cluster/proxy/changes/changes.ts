// All changes. They are played at the same time but for those that disturb the others.
import type { Mode } from "../row.ts";
import type { World } from "../world.ts";
import { affinity } from "./affinity.ts";
import { health } from "./health.ts";
import { program } from "./program.ts";
import { schedulers } from "./schedulers.ts";
import { type Change, type Checked, Stage } from "./stage.ts";
import { udp } from "./udp.ts";
import { zone } from "./zone.ts";

const changes: readonly Change[] = [...udp, ...affinity, ...zone, ...health, ...schedulers, ...program];

/** Those whose names that matches and that are for this mode and program. */
export function chosenChanges(only: RegExp, mode: Mode, isReference: boolean): Change[] {
  return changes.filter(
    ({ name, modes, onlyFor }) =>
      only.test(name) && (modes?.includes(mode) ?? true) && !(isReference && onlyFor === "agent"),
  );
}

export async function playChanges(world: World, chosen: readonly Change[], isReference: boolean): Promise<Checked[]> {
  const played = async ({ name, play }: Change): Promise<Checked[]> => {
    const stage = new Stage(world, name, isReference);
    try {
      await play(stage);
    } catch (error) {
      stage.check("played to its end", error instanceof Error ? error.message : String(error), "yes");
    }
    return stage.checked;
  };
  const together = await Promise.all(chosen.filter(({ alone }) => !alone).map(played));
  const oneByOne: Checked[][] = [];
  for (const change of chosen.filter(({ alone }) => alone)) oneByOne.push(await played(change));
  return [...together, ...oneByOne].flat();
}
