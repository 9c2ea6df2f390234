// The agent, wired together: source → plan → node, and source → snapshot → edge. It holds no rules and no state of its own.
// The order that the parts keep: the node is programmed before the edge is told, so that the node already serves what the edge
// routes to it. Nothing survives a restart.
import type { Logger } from "pino";
import { Announcer, publishWithoutLeader } from "./announcer.ts";
import { startController } from "./controller/controller.ts";
import { Backends } from "./endpoints/endpoints.ts";
import { userspaceExecutor } from "./dataplane/userspace/executor.ts";
import { tunnelOnlyExecutor } from "./dataplane/userspace/tunnel-only.ts";
import type { Health } from "./health/healthz.ts";
import { accessOf } from "./kube/access.ts";
import { KubeApi } from "./kube/api.ts";
import { LogOnce } from "./log-once.ts";
import { NodeProblems } from "./node-problems.ts";
import { NodeProgrammer } from "./node-programmer.ts";
import { type Options, readToken } from "./options.ts";
import { refusalToStart, rulesOf } from "./rules.ts";
import { checkedSource } from "./source/checked.ts";
import { filesSource } from "./source/files/index.ts";
import { kubeSource } from "./source/kube/index.ts";
import { SourceReport } from "./source-report.ts";
import { createTunnel } from "./tunnel/index.ts";

export interface RunningAgent {
  /** Says GoAway, lets open streams finish (for at most `limitMs`), and stops. */
  stop(limitMs: number): Promise<void>;
}

/** `onRefusal`: the agent must not work in this cluster as it is. It then does nothing until it is stopped. */
export function startAgent(
  options: Options,
  software: string,
  log: Logger,
  health: Health,
  onRefusal: (why: string) => void,
): RunningAgent {
  const { cluster, node, address, instance, kubeconfig } = options;
  const target = { edge: new URL(options.edge), cluster, token: () => readToken(options["token-file"]), log };
  const rules = rulesOf(options);
  const logOnce = new LogOnce((text) => log.warn(text));
  const api = options.source === "kube" ? new KubeApi(accessOf(kubeconfig, process.env)) : undefined;
  const source = api === undefined ? filesSource(options.manifests ?? ".") : kubeSource({ api });

  const backends = new Backends();
  const announcer = new Announcer({
    rules,
    logOnce,
    served: () => programmer.served,
    refused: (observed) => programmer.refused(observed),
    start: (hooks) =>
      api === undefined
        ? publishWithoutLeader({ ...target, ...hooks })
        : startController({
            ...{ ...target, ...hooks, api, node },
            identity: instance,
            installed: kubeconfig === undefined,
          }),
    onAccepted: () => {
      health.metrics.publishes.inc();
      // The edge is there: no tunnel waits for it any longer.
      tunnel.redialNow();
    },
  });
  const tunnel = createTunnel({
    ...{ ...target, node, instance, software, backends },
    onState: (state) => {
      announcer.tunnelChanged(state);
      health.set(state);
    },
  });
  const problems = new NodeProblems({
    ...{ backends, logOnce, metrics: health.metrics, at: address ?? node },
    report: (endpoints) => tunnel.report(endpoints),
  });
  const programmer = new NodeProgrammer({
    ...{ node, rules, problems, logOnce },
    executor:
      options.proxy === "userspace" && address !== undefined
        ? userspaceExecutor({ address, backends })
        : tunnelOnlyExecutor(backends),
    onApplied: () => {
      health.set({ programmed: true });
      tunnel.dial();
    },
    onServed: () => announcer.announce(),
  });
  const report = new SourceReport({ node, health, logOnce });
  const subscription = checkedSource(source, (observed) => refusalToStart(options, observed), onRefusal).subscribe(
    (observed) => {
      report.observed(observed);
      programmer.observe(observed);
    },
    (found) => report.problems(found),
  );

  return {
    async stop(limitMs) {
      // The next leader takes over while this agent finishes.
      const announced = announcer.stop();
      // What is observed still counts while streams finish: a pod that goes meanwhile must be let go.
      let timer: NodeJS.Timeout | undefined;
      const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, limitMs)));
      await Promise.race([tunnel.drain(), limit]);
      clearTimeout(timer);
      subscription[Symbol.dispose]();
      problems.stop();
      await programmer.stop();
      tunnel.close();
      await announced;
      await api?.close();
    },
  };
}
