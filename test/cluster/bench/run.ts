// The whole run, inside the namespaces of proxy/isolation.ts: each size and mode, the programs by turns, then the figures.
import { cpSync, mkdirSync } from "node:fs";
import { availableParallelism, loadavg, release } from "node:os";
import { resolve } from "node:path";
import { run } from "../harness/command.ts";
import { endWithParent, FOLDER } from "../proxy/isolation.ts";
import { bundleInto } from "../proxy/programs.ts";
import { parseOptions } from "./command-line.ts";
import type { Measured } from "./figures.ts";
import { measure, type Plan } from "./measure.ts";
import type { Mode, ProgramName } from "./programs.ts";
import { compare, type Compared, printed } from "./report.ts";

endWithParent();
const options = parseOptions(process.argv.slice(2));
const say = (line: string): void => console.error(`bench:proxy: ${line}`);
const folder = `${FOLDER}/bench`;
const agent = `${folder}/agent.mjs`;

let code = 2;
try {
  code = await main();
} catch (error) {
  console.error(error);
} finally {
  if (options.logs !== "") cpSync(folder, options.logs, { recursive: true });
}
// The first process of its namespace: all others end with it. A pipe takes what was said in pieces, and exit() does not wait.
process.stdout.write("", () => process.exit(code));

async function main(): Promise<number> {
  mkdirSync(folder, { recursive: true });
  if (options.programs.includes("agent")) await bundleInto(folder, resolve(options.agent));
  const machine = await describeMachine();
  const results: Compared[] = [];
  for (const services of options.sizes) {
    for (const mode of options.modes) {
      const compared = await measureBoth(services, mode);
      results.push(compared);
      console.log(printed(compared));
    }
  }
  if (options.json) {
    const { rounds, adds, moves, packets, pace, limit } = options;
    console.log(JSON.stringify({ machine, settings: { rounds, adds, moves, packets, pace, limit }, results }));
  }
  return results.some(({ programs }) => programs.some(({ gaveUp }) => gaveUp.length > 0)) ? 1 : 0;
}

async function measureBoth(services: number, mode: Mode): Promise<Compared> {
  const rounds = new Map<ProgramName, Measured[]>(options.programs.map((program) => [program, []]));
  for (let round = 0; round < options.rounds; round++) {
    // The order turns, so that neither has always the warmer machine.
    for (const program of round % 2 === 0 ? options.programs : options.programs.toReversed()) {
      // What was too much once is so again, and takes as long.
      if (rounds.get(program)?.some(({ gaveUp }) => gaveUp !== undefined)) continue;
      const name = `${services} Services, ${mode}, round ${round + 1} of ${options.rounds}, ${program}`;
      say(name);
      const plan: Plan = {
        program,
        setting: { mode, folder, kubeProxy: options["kube-proxy"], agent },
        services,
        adds: Math.ceil(options.adds / options.rounds),
        moves: Math.ceil(options.moves / options.rounds),
        packets: options.packets,
        limitMs: options.limit * 1000,
        paceMs: options.pace,
      };
      rounds.get(program)?.push(await measure(plan, (line) => say(`  ${line}`)));
    }
  }
  return compare(services, mode, rounds);
}

async function describeMachine(): Promise<object> {
  const first = async (command: string[]): Promise<string> => (await run(command)).trim().split("\n")[0] ?? "";
  return {
    kernel: release(),
    processors: availableParallelism(),
    load: loadavg()[0],
    node: process.version,
    nft: await first(["nft", "--version"]),
    iptables: await first(["iptables", "--version"]),
    kubeProxy: await first([options["kube-proxy"], "--version"]),
  };
}
