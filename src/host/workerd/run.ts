// workerd with a tether: ends when its supervisor ends, however that ended, and takes workerd along (tether.ts). Its end is
// the supervisor's to see, so this process ends as workerd did: by the same signal, or with the same code.
import { spawn } from "node:child_process";
import { workerdBinary } from "./binary.ts";

const [config = ""] = process.argv.slice(2);
const workerd = spawn(workerdBinary(), ["serve", "--experimental", config], { stdio: "inherit" });
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => workerd.kill("SIGTERM"));
workerd.once("exit", (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  if (signal === "SIGKILL") console.error("workerd was killed by SIGKILL: by hand, or for want of memory (see dmesg)");
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
workerd.once("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
