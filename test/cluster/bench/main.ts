// `npm run bench:proxy`: the agent in kube-proxy's place beside kube-proxy itself, on the same kernel, in the same run. Owns the
// options and the exit code; what is done is in run.ts, inside namespaces of its own, which leave nothing behind.
import { ensureNewestProxy } from "../harness/binaries.ts";
import { ensurePackages } from "../harness/packages.ts";
import { runIsolated } from "../proxy/isolation.ts";
import { parseOptions, usage } from "./command-line.ts";

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}

async function main(args: string[]): Promise<number> {
  const options = parseOptions(args);
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const say = (line: string): void => console.error(`bench:proxy: ${line}`);
  await ensurePackages(say);
  const kubeProxy = `${await ensureNewestProxy(say)}/kube-proxy`;
  const program = new URL("run.ts", import.meta.url).pathname;
  return await runIsolated(program, [...args, "--kube-proxy", kubeProxy]);
}
