// The command's options, as both of its halves read them (main.ts, run.ts). A wrong one is an error that says what is right.
import { parseArgs } from "node:util";
import { z } from "zod";
import { modes, programNames } from "./programs.ts";

const flags = {
  sizes: { type: "string", default: "1,1000,10000,30000" },
  modes: { type: "string", default: modes.join(",") },
  programs: { type: "string", default: programNames.join(",") },
  rounds: { type: "string", default: "3" },
  adds: { type: "string", default: "10" },
  moves: { type: "string", default: "100" },
  packets: { type: "string", default: "5000" },
  pace: { type: "string", default: "1500" },
  limit: { type: "string", default: "900" },
  agent: { type: "string", default: new URL("../../..", import.meta.url).pathname },
  json: { type: "boolean", default: false },
  logs: { type: "string", default: "" },
  help: { type: "boolean", default: false },
  /** Given by main.ts. */
  "kube-proxy": { type: "string", default: "" },
} as const;

export const usage = `usage: npm run bench:proxy -- [options]
       --sizes LIST     Services, with ten endpoints each (default: ${flags.sizes.default})
       --modes LIST     ${modes.join(", ")} (default: both)
       --programs LIST  ${programNames.join(", ")} (default: both, by turns)
       --rounds N       of each measurement (default: ${flags.rounds.default}); the figures are medians
       --moves N        endpoints moved, over all rounds (default: ${flags.moves.default})
       --adds N         Services added, over all rounds (default: ${flags.adds.default})
       --packets N      first packets of each round, as many again directly (default: ${flags.packets.default})
       --pace MS        from a change that has come to the next one (default: ${flags.pace.default}: kube-proxy waits for 1 s after each)
       --limit SECONDS  after which a phase is given up, and said to be (default: ${flags.limit.default})
       --agent FOLDER   the agent of another checkout of this repository, its packages installed
       --logs FOLDER    keeps what the programs said
       --json           ends with one line of JSON on standard output
examples:
  npm run bench:proxy                                     everything: many hours on two cores
  npm run bench:proxy -- --sizes 1,1000 --rounds 1        a first look, half an hour
  npm run bench:proxy -- --sizes 10 --moves 3 --adds 2 --rounds 1 --programs kube-proxy --modes nftables
exit code: 0 all was measured, 1 some phase was given up, 2 it could not be done at all`;

const count = z.coerce.number<string>("must be a number").int("must be whole").positive("must be at least 1");
const listOf = <T extends z.ZodType<unknown, string>>(each: T) =>
  z
    .string()
    .transform((text) => text.split(","))
    .pipe(z.array(each));

const schema = z.object({
  // What the ranges of places.ts have room for.
  sizes: listOf(count.max(400_000, "must be at most 400000")),
  modes: listOf(z.enum(modes, `must be of ${modes.join(", ")}`)),
  programs: listOf(z.enum(programNames, `must be of ${programNames.join(", ")}`)),
  rounds: count,
  adds: count,
  moves: count,
  packets: count,
  pace: count,
  limit: count,
  agent: z.string(),
  json: z.boolean(),
  logs: z.string(),
  help: z.boolean(),
  "kube-proxy": z.string(),
});
export type Options = z.output<typeof schema>;

/** Throws an error that names the option. */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({ args: [...args], options: flags });
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  throw new Error(parsed.error.issues.map(({ path, message }) => `--${String(path[0])} ${message}`).join("\n"));
}
