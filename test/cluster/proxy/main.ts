// `npm run test:proxy -- --with kube-proxy --mode nftables`: plays the packet table against a program that forwards
// Services, over the real kernel, and says what was not as expected. Owns the words on the terminal's first line and the exit
// code; what is done is in run.ts, inside namespaces of its own.
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { ensureBinaries, ensureNewestProxy } from "../harness/binaries.ts";
import { ensurePackages } from "../harness/packages.ts";
import { ensureKernel } from "../vm/kernel.ts";
import { runIsolated } from "./isolation.ts";
import { programNames } from "./programs.ts";
import { modes } from "./row.ts";
import { options, usage } from "./command-line.ts";

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options });
  const known =
    (programNames as readonly string[]).includes(values.with) && (modes as readonly string[]).includes(values.mode);
  if (values.help || !known) {
    console.error(usage);
    return values.help ? 0 : 2;
  }
  const say = (line: string): void => console.error(`test:proxy: ${line}`);
  await ensurePackages(say);
  await ensureBinaries(say);
  const binaries = await ensureNewestProxy(say);
  const args = [...process.argv.slice(2), "--binaries", binaries];
  if (values.mode === "ipvs") {
    if (values.hold) throw new Error("--hold: mode ipvs runs in a virtual machine, into which no shell leads");
    if (values.logs !== "") args.push("--logs", resolve(values.logs));
    const kernel = await ensureKernel(say);
    return runIsolated(fileOf("vm.ts"), [...args, "--kernel", JSON.stringify(kernel)]);
  }
  return runIsolated(fileOf("run.ts"), args, (pid) => {
    if (values.hold) say(`a shell in it: nsenter --target $(pgrep --parent ${pid}) --mount --pid --net bash`);
  });
}

function fileOf(name: string): string {
  return new URL(name, import.meta.url).pathname;
}
