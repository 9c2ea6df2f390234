// `node agent/main.ts cleanup`: takes the rules of --proxy all off this node, in whatever mode they were made, and says what it did.
// It is for nodes that get a kube-proxy back, and needs neither cluster nor edge. No agent may run meanwhile. A kube-proxy that runs
// already keeps its rules, so that no packet meets a node without any.
import { parseArgs } from "node:util";
import { cleanupLeftovers, leftovers, leftoversOfOurs } from "./dataplane/kernel/create.ts";
import type { Run } from "./dataplane/kernel/run.ts";
import { defaultSettings } from "./dataplane/kernel/settings.ts";
import { interfaceAddresses } from "./dataplane/kernel/interface-addresses.ts";
import { mayRun } from "./health/other-proxy.ts";
import { HEALTH_PORT } from "./kube-proxy/config.ts";

/** Its health, as it has it by default. */
const KUBE_PROXY = { host: "127.0.0.1", port: HEALTH_PORT };

export const help = `Takes away the rules that an agent with --proxy all, or a kube-proxy, left on this node.

Usage: node agent/main.ts cleanup

Removes nothing but what bears the names of Postern's or kube-proxy's own tables, chains, sets and virtual servers, in all modes
whose programs (nft; iptables; ipvsadm and ipset) are installed. Prints each change. Stop the agent first, or it makes the rules
again. Run it as root, in the node's own network. Where a kube-proxy answers at port ${KUBE_PROXY.port}, what bears kube-proxy's names is its
own and stays: then nothing is without rules meanwhile.

Examples:
  sudo node agent/main.ts cleanup
  kubectl debug node/<node> --profile=netadmin --image=<the agent's> -- node /agent/main.mjs cleanup
`;

/** What is printed of a program's input: rules of thousands of Services are no news. */
const LINES_MAX = 20;

/** Returns the exit code: 0 where all is gone, 1 where a mode could not be cleaned, 2 for wrong arguments. */
export async function cleanup(
  args: readonly string[],
  run: Run,
  print = (text: string) => void process.stdout.write(text),
  clean = cleanupLeftovers,
  kubeProxyRuns = () => mayRun(KUBE_PROXY),
): Promise<number> {
  try {
    const options = { help: { type: "boolean", short: "h" } } as const;
    const { values } = parseArgs({ args: [...args], options, strict: true, allowPositionals: false });
    if (values.help === true) {
      print(help);
      return 0;
    }
  } catch (error) {
    print(`${(error as Error).message}\n\nnode agent/main.ts cleanup --help\n`);
    return 2;
  }
  let changes = 0;
  const said: Run = async (program, args, input) => {
    const ran = await run(program, args, input);
    if (ran.code === 0 && isChange(program, args)) {
      changes++;
      print(`  ${[program, ...args].join(" ")}\n${indented(input ?? "")}`);
    }
    return ran;
  };
  const beside = await kubeProxyRuns();
  if (beside) print("a kube-proxy runs on this node: its rules stay, and only Postern's own are removed\n");
  const which = beside ? leftoversOfOurs : leftovers;
  const outcomes = await clean(defaultSettings, { run: said, localAddresses: interfaceAddresses() }, which);
  for (const { of, outcome } of outcomes) print(`${of}: ${outcome}\n`);
  print(changes === 0 ? "nothing was there to remove\n" : `${changes} changes made\n`);
  return outcomes.some(({ failed }) => failed) ? 1 : 0;
}

/** A word that says that a program only reads. */
const READS = /^(-L.*|--list.*|-S|-V|-v|-c|--check|--version|list|save|show)$/;
const isChange = (program: string, args: readonly string[]): boolean => {
  if (program.endsWith("-save") || args.includes("--version")) return false;
  // To these -c means counters.
  return program.endsWith("-restore") || !args.some((arg) => READS.test(arg));
};

function indented(input: string): string {
  const lines = input.split("\n").filter((line) => line.trim() !== "");
  const more = lines.length > LINES_MAX ? [`… and ${lines.length - LINES_MAX} lines more`] : [];
  return [...lines.slice(0, LINES_MAX), ...more].map((line) => `    ${line}\n`).join("");
}
