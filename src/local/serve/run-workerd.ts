// workerd with a tether: ends when its supervisor ends, however that ended, and takes workerd along (tether.ts). Its end is
// the supervisor's to see.
import { spawn } from "node:child_process";
import { workerdBinary } from "./workerd-binary.ts";

const [config = ""] = process.argv.slice(2);
const workerd = spawn(workerdBinary(), ["serve", "--experimental", config], { stdio: "inherit" });
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => workerd.kill("SIGTERM"));
workerd.once("exit", (code) => process.exit(code ?? 1));
workerd.once("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
