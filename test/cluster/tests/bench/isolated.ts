// rules.ts in namespaces of its own: a program, since isolation writes to the standard output that it is given.
import { runIsolated } from "../../proxy/isolation.ts";

const program = new URL("rules.ts", import.meta.url).pathname;
process.exitCode = await runIsolated(program, process.argv.slice(2), () => {});
