// One run, inside the namespaces of isolation.ts: makes the world, plays each table, prints it. Started by main.ts.
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { ServerHandle } from "../harness/api-server.ts";
import { run } from "../harness/command.ts";
import { inside } from "../harness/places.ts";
import { options } from "./command-line.ts";
import { chosenChanges, playChanges } from "./changes/changes.ts";
import type { Change } from "./changes/stage.ts";
import { endWithParent, FOLDER } from "./isolation.ts";
import type { ServiceSpec } from "./objects.ts";
import { nodes } from "./places.ts";
import { playAll } from "./play.ts";
import { distributionServices, playDistribution } from "./distribution/play.ts";
import { loadServices, playLoad } from "./load/play.ts";
import { bundleInto, type ProgramName } from "./programs.ts";
import { lineOf, printed, printedCheck } from "./report.ts";
import { type Case, casesOf, type Mode, rowsOf } from "./row.ts";
import { services, type Table, tables } from "./tables/tables.ts";
import { UPLINK } from "../vm/job.ts";
import { World } from "./world.ts";

const { values } = parseArgs({ options });
const isInVm = values.server !== "";
if (!isInVm) endWithParent();
const [program, mode] = [values.with as ProgramName, values.mode as Mode];
const started = performance.now();
const print = (text: string): void => console.log(text);
/** Tables that are played only when they are asked for by their whole name: they take minutes, and have Services of their own. */
const optIn: { readonly [table in string]?: OptIn } = {
  load: {
    services: loadServices,
    play: (world) => playLoad(world, { program, mode, only: values.only, print }),
  },
  distribution: {
    services: distributionServices,
    play: (world) => playDistribution(world, { program, mode, only: values.only, print }),
  },
};
interface OptIn {
  readonly services: readonly ServiceSpec[];
  readonly play: (world: World) => Promise<{ right: number; wrong: number }>;
}
const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1);

/** What prints them. */
const iptables = [["iptables-save"], ["ip6tables-save"]];
const rulesOf: Readonly<Record<Mode, readonly string[][]>> = {
  nftables: [["nft", "list", "ruleset"]],
  iptables,
  ipvs: [["ipvsadm", "-S", "-n"], ["ip", "addr", "show", "kube-ipvs0"], ["ipset", "save"], ...iptables],
};

let code = 2;
try {
  code = await main();
} catch (error) {
  console.error(error);
}
// The first process of its namespace: all others end with it.
process.exit(code);

async function main(): Promise<number> {
  // Where it was asked for, so that a run that is ended before its time leaves something to read.
  const folder = values.logs === "" ? `${FOLDER}/programs` : values.logs;
  mkdirSync(folder, { recursive: true });
  const playedTables = tables
    .filter(({ name }) => new RegExp(values.table).test(name))
    .map((table) => ({ ...table, cases: casesIn(table) }))
    .filter(({ cases }) => cases.length > 0);
  const isReference = program === "kube-proxy";
  const playedChanges = new RegExp(values.table).test("changes")
    ? chosenChanges(new RegExp(values.only), mode, isReference)
    : [];
  const asked = optIn[values.table];
  const world = new World(asked?.services ?? servicesOf(playedTables, playedChanges), {
    program,
    mode,
    binaries: values.binaries,
    agent: isInVm ? values.agent : await bundleInto(`${FOLDER}/agent`),
    folder,
    // It has one processor, and each of its system calls costs this machine several.
    patience: isInVm ? 4 : 1,
    ...(isInVm && { outside: { server: JSON.parse(values.server) as ServerHandle, uplink: UPLINK } }),
  });
  await world.make();
  console.error(`test:proxy: the world is there after ${seconds()} s`);
  try {
    const sums = (await asked?.play(world)) ?? { right: 0, wrong: 0 };
    for (const { cases, ...table } of playedTables) {
      await world.start(table.options);
      const began = performance.now();
      const played = await playAll(cases, world.residents, world.numbers, world);
      const took = ((performance.now() - began) / 1000).toFixed(1);
      console.log(`\n${table.name}: ${program} in mode ${mode}, ${cases.length} cases in ${took} s`);
      for (const { title, service } of table.sections) {
        const its = played.filter(({ case: { row } }) => row.service === service.name);
        const shown = its.filter(({ right, again }) => !values.quiet || !right || again !== undefined);
        if (shown.length > 0) console.log(`\n  ${title}\n${shown.map(printed).join("\n")}`);
        for (const { right } of its) sums[right ? "right" : "wrong"] += 1;
      }
      await keepRules(table.name);
    }
    if (playedChanges.length > 0) {
      await world.start({});
      console.log(`\nchanges: ${program} in mode ${mode}, from ${seconds()} s on`);
      await playChanges(world, playedChanges, isReference, (checks) => {
        console.error(`test:proxy: ${checks[0]?.change}: ${checks.length} checks, played after ${seconds()} s`);
        for (const each of checks) {
          sums[each.right ? "right" : "wrong"] += 1;
          if (!values.quiet || !each.right) console.log(printedCheck(each));
        }
      });
    }
    console.log(`\n${sums.right} passed, ${sums.wrong} failed`);
    console.error(`test:proxy: ${seconds()} s in all`);
    if (values.hold) {
      console.error("test:proxy: all stays as it is until Ctrl-C");
      await new Promise(() => {});
    }
    return sums.wrong === 0 && sums.right > 0 ? 0 : 1;
  } finally {
    await world.stop();
  }
}

function casesIn({ sections }: Table): Case[] {
  return sections
    .flatMap(({ service, lines }) => rowsOf(service.name, lines))
    .flatMap((row) => casesOf(row, mode, program === "kube-proxy"))
    .filter((each) => new RegExp(values.only).test(lineOf(each)));
}

/** Those that are asked for, and no others: in mode ipvs each of them takes kube-proxy seconds in the virtual machine. */
function servicesOf(
  playedTables: readonly { readonly cases: readonly Case[] }[],
  playedChanges: readonly Change[],
): ServiceSpec[] {
  const names = new Set(playedTables.flatMap(({ cases }) => cases.map(({ row }) => row.service)));
  return [...services.filter(({ name }) => names.has(name)), ...playedChanges.flatMap((change) => change.services)];
}

/** What the kernel has of each node, for whoever wants to know why. */
async function keepRules(table: string): Promise<void> {
  if (values.logs === "") return;
  for (const { name } of nodes) {
    const commands = rulesOf[mode];
    const texts = await Promise.all(commands.map((command) => run([...inside(name), ...command])));
    writeFileSync(`${values.logs}/${table.replaceAll(" ", "-")}-${name}.rules`, texts.join("\n"));
  }
}
