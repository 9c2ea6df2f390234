// The agent's process: options, logs, signals and exit codes. 0: stopped as asked; 1: failed; 2: wrong options.
// The first SIGTERM or SIGINT lets open requests finish; the second ends at once.
import pino from "pino";
import manifest from "../package.json" with { type: "json" };
import { startAgent } from "./agent.ts";
import { Health } from "./health/healthz.ts";
import { ignoredProxy } from "./ignored-proxy.ts";
import { accessOf } from "./kube/access.ts";
import { help, parseOptions, readToken } from "./options.ts";

/** Below Kubernetes' default terminationGracePeriodSeconds of 30. */
const DRAIN_MS = 25_000;
const software = `postern-agent ${manifest.version}`;

const parsed = parseOptions(process.argv.slice(2), process.env);
if (!parsed.ok) {
  if (parsed.help) process.stdout.write(help);
  else process.stderr.write(`${parsed.problems.join("\n")}\n\nnode agent/main.ts --help lists all options.\n`);
  process.exit(parsed.help ? 0 : 2);
}
const { options } = parsed;
const log = pino({ level: options["log-level"], base: { node: options.node } });

const fail = (error: unknown) => {
  log.fatal({ err: error }, "the agent failed and stops; start it again. If it fails again, report this line");
  process.exit(1);
};
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);

try {
  // Better now than at the first dial, or request.
  readToken(options["token-file"]);
  if (options.source === "kube") accessOf(options.kubeconfig, process.env);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(2);
}
const health = new Health();
const healthAddress = options["health-address"];
const healthSocket = options["health-socket"];
if (healthSocket !== undefined) await health.listenAt(healthSocket);
const healthPort =
  healthAddress &&
  health.hold(healthAddress, (error) =>
    log.warn(
      { err: error },
      "--health-address is not free yet: another agent, or another program, holds it; trying on",
    ),
  );
const agent = startAgent(options, software, log, health, (why) => {
  log.fatal(why);
  process.exit(2);
});
const { edge, cluster, source, manifests } = options;
log.info({ edge, cluster, source, ...(manifests === undefined ? {} : { manifests }) }, `${software} started`);

const proxy = ignoredProxy(new URL(edge), process.env);
if (proxy !== undefined)
  log.warn(`${proxy} is set, but the agent uses no proxy: this node must reach ${edge} directly (docs/limits.md)`);

let asked = false;
const stop = (signal: NodeJS.Signals) => {
  if (asked) {
    log.warn(`${signal} again: stopping at once`);
    process.exit(1);
  }
  asked = true;
  // To the agent that takes over.
  healthPort?.close();
  log.info(`${signal}: finishing what is open`);
  void agent.stop(DRAIN_MS).then(() => {
    log.info("stopped");
    process.exit(0);
  });
};
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
