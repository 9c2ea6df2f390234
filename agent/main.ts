// The agent's process: options, logs, signals and exit codes. 0: stopped as asked; 1: failed; 2: wrong options.
// The first SIGTERM or SIGINT lets open requests finish; the second ends at once.
import pino from "pino";
import manifest from "../package.json" with { type: "json" };
import { type RunningAgent, startAgent } from "./agent.ts";
import { bundleHash } from "./bundle.ts";
import { cleanup } from "./cleanup.ts";
import { chooseMode } from "./dataplane/kernel/mode.ts";
import { run } from "./dataplane/kernel/run.ts";
import { Health } from "./health/healthz.ts";
import { otherProxy } from "./health/other-proxy.ts";
import { ignoredProxy } from "./ignored-proxy.ts";
import { accessOf } from "./kube/access.ts";
import { type ProxySettings, proxySettings } from "./kube-proxy/settings.ts";
import { help } from "./options-help.ts";
import { edgeOf, parseOptions, readToken } from "./options.ts";

/** Below Kubernetes' default terminationGracePeriodSeconds of 30. */
const DRAIN_MS = 25_000;
const software = `postern-agent ${manifest.version}`;

if (process.argv[2] === "cleanup") process.exit(await cleanup(process.argv.slice(3), run));

const parsed = parseOptions(process.argv.slice(2), process.env);
if (!parsed.ok) {
  if (parsed.help) process.stdout.write(help);
  else process.stderr.write(`${parsed.problems.join("\n")}\n\nnode agent/main.ts --help lists all options.\n`);
  process.exit(parsed.help ? 0 : 2);
}
const { options, kubeProxy, warnings } = parsed;
const log = pino({ level: options["log-level"], base: { node: options.node } });

const fail = (error: unknown) => {
  log.fatal({ err: error }, "the agent failed and stops; start it again. If it fails again, report this line");
  process.exit(1);
};
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);

try {
  // Fails now instead of at the first dial, or the first request. In kube-proxy's place the node's Services come first, whatever
  // the edge lacks.
  if (options["token-file"] !== undefined && options.proxy !== "all") readToken(options["token-file"]);
  if (options.source === "kube") accessOf(options, process.env);
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
for (const warning of warnings) log.warn(warning);
const proxy = options.proxy === "all" ? await inItsPlace() : undefined;
const agent = started();
const { cluster, source, manifests } = options;
const edge = edgeOf(options)?.edge;
log.info({ edge, cluster, source, ...(manifests === undefined ? {} : { manifests }) }, `${software} started`);

const httpProxy = edge && ignoredProxy(edge, process.env);
if (httpProxy !== undefined)
  log.warn(
    `${httpProxy} is set, but the agent uses no proxy: this node must reach ${edge?.href} directly (docs/limits.md)`,
  );

let asked = false;
const stop = (signal: NodeJS.Signals) => {
  if (asked) {
    log.warn(`${signal} again: stopping at once`);
    process.exit(1);
  }
  asked = true;
  // The agent that takes over gets the port.
  healthPort?.close();
  log.info(`${signal}: finishing what is open`);
  void agent.stop(DRAIN_MS).then(() => {
    log.info("stopped");
    process.exit(0);
  });
};
process.on("SIGTERM", stop);
process.on("SIGINT", stop);

function refuse(why: string): never {
  log.fatal(why);
  process.exit(2);
}

function started(): RunningAgent {
  try {
    return startAgent({
      options,
      proxy,
      software,
      bundle: bundleHash(import.meta.filename),
      log,
      health,
      onRefusal:
        proxy === undefined
          ? refuse
          : (why) =>
              log.error(`${why}. Until then the edge hears nothing of this node; its Services are forwarded as ever`),
    });
  } catch (error) {
    // Such as a mode that cannot be.
    return refuse((error as Error).message);
  }
}

/** How it does kube-proxy's work; ends the process where a kube-proxy does it already. */
async function inItsPlace(): Promise<ProxySettings> {
  const given = options["proxy-mode"] ?? kubeProxy.mode;
  const { mode, because } = given === undefined ? await chooseMode(run) : { mode: given, because: "as configured" };
  log.info(`in kube-proxy's place, by ${mode}: ${because}`);
  const settings = proxySettings(mode, kubeProxy, {
    clusterCIDRs: options["cluster-cidr"],
    healthAddress: options["proxy-health-address"],
    metricsAddress: options["proxy-metrics-address"],
  });
  if (options.source === "kube" && options.kubeconfig === undefined && options["kube-api"] === undefined)
    log.warn(
      "without --kube-api the API server is asked at the address in the pod's environment. If that is its ClusterIP, nothing " +
        "answers there before the first rules are made; give the control plane's own address",
    );
  const other = await otherProxy(settings.healthAddress);
  if (other !== undefined) refuse(other);
  return settings;
}
