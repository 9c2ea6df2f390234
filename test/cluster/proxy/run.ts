// One run, inside the namespaces of isolation.ts: makes the world, plays each table, prints it. Started by main.ts.
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { run } from "../harness/command.ts";
import { inside } from "../harness/places.ts";
import { options } from "./command-line.ts";
import { changes, playChanges } from "./changes/changes.ts";
import { endWithParent, FOLDER } from "./isolation.ts";
import { nodes } from "./places.ts";
import type { ServiceSpec } from "./objects.ts";
import { playAll } from "./play.ts";
import { distributionServices, playDistribution } from "./distribution/play.ts";
import { loadServices, playLoad } from "./load/play.ts";
import type { ProgramName } from "./programs.ts";
import { lineOf, printed, printedCheck } from "./report.ts";
import { casesOf, type Mode, rowsOf } from "./row.ts";
import { services, tables } from "./tables/tables.ts";
import { World } from "./world.ts";

endWithParent();
const { values } = parseArgs({ options });
const [program, mode] = [values.with as ProgramName, values.mode as Mode];
const started = performance.now();
/** Tables that are played only when they are asked for by their whole name: they take minutes, and have Services of their own. */
const servicesOf: { readonly [table in string]?: readonly ServiceSpec[] } = {
  load: loadServices,
  distribution: distributionServices,
};
const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1);

let code = 2;
try {
  code = await main();
} catch (error) {
  console.error(error);
}
// The first process of its namespace: all others end with it.
process.exit(code);

async function main(): Promise<number> {
  const folder = `${FOLDER}/programs`;
  mkdirSync(folder);
  const its = servicesOf[values.table] ?? [...services, ...changes.flatMap(({ services }) => services)];
  const world = new World(its, { program, mode, binaries: values.binaries, folder });
  await world.make();
  console.error(`test:proxy: the world is there after ${seconds()} s`);
  let sums = { right: 0, wrong: 0 };
  try {
    const print = (text: string): void => console.log(text);
    if (values.table === "load") {
      const sides: readonly ProgramName[] = program === "agent" ? ["kube-proxy", "agent"] : ["kube-proxy"];
      sums = await playLoad(world, { sides, mode, only: values.only, print });
    }
    if (values.table === "distribution") {
      sums = await playDistribution(world, { program, mode, only: values.only, print });
    }
    for (const table of tables.filter(({ name }) => name.includes(values.table))) {
      const cases = table.sections
        .flatMap(({ service, lines }) => rowsOf(service.name, lines))
        .flatMap((row) => casesOf(row, mode, program === "kube-proxy"))
        .filter((each) => lineOf(each).includes(values.only));
      if (cases.length === 0) continue;
      await world.start(table.options);
      const began = performance.now();
      const played = await playAll(cases, world.residents, world.numbers);
      const took = ((performance.now() - began) / 1000).toFixed(1);
      console.log(`\n${table.name}: ${program} in mode ${mode}, ${cases.length} cases in ${took} s`);
      for (const { title, service } of table.sections) {
        const its = played.filter(({ case: { row } }) => row.service === service.name);
        const shown = its.filter(({ right }) => !values.quiet || !right);
        if (shown.length > 0) console.log(`\n  ${title}\n${shown.map(printed).join("\n")}`);
        for (const { right } of its) sums[right ? "right" : "wrong"] += 1;
      }
      await keepRules(table.name);
    }
    if ("changes".includes(values.table)) {
      await world.start({});
      const began = performance.now();
      const checks = await playChanges(world, values.only, program === "kube-proxy");
      const took = ((performance.now() - began) / 1000).toFixed(1);
      console.log(`\nchanges: ${program} in mode ${mode}, ${checks.length} checks in ${took} s`);
      for (const each of checks) {
        sums[each.right ? "right" : "wrong"] += 1;
        if (!values.quiet || !each.right) console.log(printedCheck(each));
      }
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
    if (values.logs !== "") cpSync(folder, values.logs, { recursive: true });
  }
}

/** What the kernel has of each node, for whoever wants to know why. */
async function keepRules(table: string): Promise<void> {
  if (values.logs === "") return;
  mkdirSync(values.logs, { recursive: true });
  for (const { name } of nodes) {
    const commands = mode === "nftables" ? [["nft", "list", "ruleset"]] : [["iptables-save"], ["ip6tables-save"]];
    const texts = await Promise.all(commands.map((command) => run([...inside(name), ...command])));
    writeFileSync(`${values.logs}/${table.replaceAll(" ", "-")}-${name}.rules`, texts.join("\n"));
  }
}
