// A run of mode ipvs, inside the namespaces of isolation.ts: this machine's kernel may have no ip_vs, so all but the control
// plane is in a virtual machine. That has one slow processor, which an API server would keep busy for minutes.
// Owns the control plane, the tap by which it is reached, and the virtual machine. Started by main.ts.
import { mkdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { ApiServer } from "../harness/api-server.ts";
import { run } from "../harness/command.ts";
import { runInVm } from "../vm/boot.ts";
import { modulesOfProxies } from "../vm/job.ts";
import type { Kernel } from "../vm/kernel.ts";
import { options } from "./command-line.ts";
import { endWithParent, FOLDER } from "./isolation.ts";
import { control, lanPrefix } from "./places.ts";
import { bundleInto } from "./programs.ts";
import { families } from "./row.ts";
import { apiServerOptions } from "./world.ts";

/** The names of this end: a tap of its own, so that the control plane hears what the machine's bridge sends. */
const TAP = "vm";

endWithParent();
const { values } = parseArgs({ options });
let code = 2;
try {
  code = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
}
// The first process of its namespace: all others end with it.
process.exit(code);

async function main(): Promise<number> {
  await run(["ip", "link", "set", "lo", "up"]);
  await run(["ip", "tuntap", "add", "dev", TAP, "mode", "tap"]);
  for (const family of families) {
    const nodad = family === "IPv6" ? ["nodad"] : [];
    await run(["ip", "addr", "add", control.addresses[family] + lanPrefix[family], "dev", TAP, ...nodad]);
  }
  await run(["ip", "link", "set", TAP, "up"]);
  const server = new ApiServer(apiServerOptions);
  await server.start();
  if (values.logs !== "") mkdirSync(values.logs, { recursive: true });
  const program = new URL("run.ts", import.meta.url).pathname;
  const agentFolder = `${FOLDER}/agent`;
  const agent = await bundleInto(agentFolder);
  return runInVm(JSON.parse(values.kernel) as Kernel, {
    command: [
      ...[process.execPath, program, ...process.argv.slice(2), "--agent", agent],
      ...["--server", JSON.stringify(server.handle)],
    ],
    cwd: process.cwd(),
    env: { TMPDIR: FOLDER },
    shared: [server.folder, agentFolder, ...(values.logs === "" ? [] : [values.logs])],
    modules: modulesOfProxies,
    memoryMB: 4096,
    tap: TAP,
  });
}
