// All changes. They are played at the same time but for those that disturb the others.
import { run } from "../../harness/command.ts";
import { inside } from "../../harness/places.ts";
import { nodes } from "../places.ts";
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

/**
 * Seconds until the kernel forgets a flow of UDP that is silent. Its own 30 are fewer than a busy machine needs to start a program
 * anew, and a flow that was forgotten is dealt anew, which is nobody's fault.
 */
const FLOWS_FORGOTTEN_AFTER = 600;

/** `told` hears the checks of each change when it has come to its end: another one may take minutes, or hang. */
export async function playChanges(
  world: World,
  chosen: readonly Change[],
  isReference: boolean,
  told: (checks: readonly Checked[]) => void,
): Promise<void> {
  const setting = `net.netfilter.nf_conntrack_udp_timeout=${FLOWS_FORGOTTEN_AFTER}`;
  await Promise.all(nodes.map(({ name }) => run([...inside(name), "sysctl", "-qw", setting])));
  const played = async ({ name, play }: Change): Promise<void> => {
    const stage = new Stage(world, name, isReference);
    try {
      await play(stage);
    } catch (error) {
      stage.check("played to its end", error instanceof Error ? error.message : String(error), "yes");
    }
    told(stage.checked);
  };
  await Promise.all(chosen.filter(({ alone }) => !alone).map(played));
  for (const change of chosen.filter(({ alone }) => alone)) await played(change);
}
