// The half of main.ts that is inside the namespaces of ../proxy/isolation.ts.
import { parseArgs } from "node:util";
import { endWithParent } from "../proxy/isolation.ts";
import { runInVm } from "./boot.ts";
import { options } from "./command-line.ts";
import { modulesOfProxies } from "./job.ts";
import type { Kernel } from "./kernel.ts";

endWithParent();
const { values, positionals } = parseArgs({ options, allowPositionals: true });
let code = 2;
try {
  code = await runInVm(JSON.parse(values.kernel) as Kernel, {
    command: positionals,
    cwd: process.cwd(),
    env: {},
    shared: values.shared,
    modules: modulesOfProxies,
    memoryMB: Number(values.memory),
  });
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
}
process.exit(code);
