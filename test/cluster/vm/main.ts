// `node test/cluster/vm/main.ts [--shared FOLDER]… [--memory MB] -- COMMAND…`: runs a command in a virtual machine that has the
// host's files and a kernel with ip_vs. Its output and exit code are the command's; 2: the machine could not be booted.
import { parseArgs } from "node:util";
import { runIsolated } from "../proxy/isolation.ts";
import { ensureKernel } from "./kernel.ts";
import { options } from "./command-line.ts";

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}

async function main(): Promise<number> {
  const { positionals } = parseArgs({ options, allowPositionals: true });
  if (positionals.length === 0) {
    console.error("usage: node test/cluster/vm/main.ts [--shared FOLDER]… [--memory MB] -- COMMAND…");
    return 2;
  }
  const kernel = await ensureKernel((line) => console.error(`vm: ${line}`));
  const program = new URL("run.ts", import.meta.url).pathname;
  return runIsolated(program, ["--kernel", JSON.stringify(kernel), ...process.argv.slice(2)]);
}
