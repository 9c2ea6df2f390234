// The agent, wired together: source → plan → node, and source → snapshot → edge. It holds no rules and no state of its own.
// The order that the parts keep: the node is programmed before the edge is told, so that the node already serves what the edge
// routes to it. In kube-proxy's place it may have no edge: then that half is missing. Nothing of its own survives a restart.
import type { Logger } from "pino";
import { EventRecorder } from "./controller/event-recorder.ts";
import type { Executor } from "./dataplane/executor.ts";
import { run } from "./dataplane/kernel/run.ts";
import { tunnelOnlyExecutor } from "./dataplane/userspace/tunnel-only.ts";
import { userspaceExecutor } from "./dataplane/userspace/executor.ts";
import { type EdgeSide, startEdgeSide } from "./edge-side.ts";
import { Backends } from "./endpoints/endpoints.ts";
import type { Health } from "./health/healthz.ts";
import { KernelProxy } from "./kernel-proxy.ts";
import type { ProxySettings } from "./kube-proxy/settings.ts";
import { accessOf } from "./kube/access.ts";
import { KubeApi } from "./kube/api.ts";
import { LogOnce } from "./log-once.ts";
import { NodeProblems } from "./node-problems.ts";
import { interfaceAddresses } from "./dataplane/kernel/interface-addresses.ts";
import { NodeProgrammer } from "./node-programmer.ts";
import { edgeOf, type Options } from "./options.ts";
import { exposedAs } from "./plan/eligible.ts";
import { nodeFacts, type NodeFactsOptions } from "./probe/node-facts.ts";
import { Prober } from "./probe/prober.ts";
import { rulesOf } from "./rules.ts";
import { filesSource } from "./source/files/index.ts";
import { kubeSource } from "./source/kube/index.ts";
import { SourceReport } from "./source-report.ts";

export interface RunningAgent {
  /** Says GoAway, lets open streams finish (for at most `limitMs`), and stops. */
  stop(limitMs: number): Promise<void>;
}

export interface AgentOptions {
  readonly options: Options;
  /** With --proxy all. */
  readonly proxy: ProxySettings | undefined;
  readonly software: string;
  /** See bundle.ts. */
  readonly bundle: string | undefined;
  readonly log: Logger;
  readonly health: Health;
  /** The edge must not be served in this cluster as it is: it hears nothing of this node until it may. */
  readonly onRefusal: (why: string) => void;
}

/** Throws where it has no executor for the mode of `proxy`. */
export function startAgent({ options, proxy, software, bundle, log, health, onRefusal }: AgentOptions): RunningAgent {
  const { node, address } = options;
  const rules = rulesOf(options, proxy?.kernel.mode);
  const logOnce = new LogOnce((text) => log.warn(text));
  const api = options.source === "kube" ? new KubeApi(accessOf(options, process.env)) : undefined;
  const withServiceCIDRs = options.proxy === "all";
  const source = api === undefined ? filesSource(options.manifests ?? ".") : kubeSource({ api, withServiceCIDRs });
  const backends = new Backends();
  const streams = tunnelOnlyExecutor(backends);
  const localAddresses = interfaceAddresses();
  const effects = { run, localAddresses };
  const events = proxy && api && new EventRecorder(api, node, log);
  const kernel = proxy && new KernelProxy({ settings: proxy, node, effects, streams, events, log, logOnce });

  const edgeOptions = edgeOf(options);
  const edge: EdgeSide | undefined =
    edgeOptions &&
    startEdgeSide({
      ...{ edge: edgeOptions, options, software, bundle, rules, backends, health, log, logOnce, api, onRefusal },
      answerProbe: (question) => prober.answer(question),
      served: () => programmer.served,
      refused: (observed) => programmer.refused(observed),
      incomplete: () => kernel?.incomplete ?? new Map(),
    });
  // There is none to wait for.
  if (edge === undefined) health.set({ connected: true });

  const problems = new NodeProblems({
    ...{ backends, logOnce, metrics: health.metrics, at: address ?? node },
    report: (endpoints) => edge?.report(endpoints),
  });
  const userspace: Executor =
    options.proxy === "userspace" && address !== undefined ? userspaceExecutor({ address, backends }) : streams;
  const programmer = new NodeProgrammer({
    ...{ node, rules, problems, logOnce, localAddresses },
    executor: kernel ?? userspace,
    ...(kernel && { applying: kernel.applying }),
    onApplied: () => {
      health.set({ programmed: true });
      edge?.dial();
    },
    onServed: () => {
      kernel?.agreed();
      edge?.announce();
    },
  });
  kernel?.listen(() => void programmer.checkNow());
  const report = new SourceReport({ node, health, logOnce, kind: options.source });
  const known: NodeFactsOptions = {
    ...{ software, node, backends, proxy: proxyOf(options, proxy) },
    source: () => report.report,
    observed: () => programmer.observed,
    isExposed: (service) => exposedAs(service, rules) !== undefined,
    standing: () => programmer.standing,
    executorProblems: () => problems.failures,
    kernel: () => kernel?.facts,
    checkKernel: () => programmer.checkNow(),
  };
  const prober = new Prober({ collect: (question) => nodeFacts(known, question) });
  const subscription = source.subscribe(
    (observed) => {
      edge?.observe(observed);
      report.observed(observed);
      kernel?.observe(observed);
      programmer.observe(observed);
    },
    (found) => report.problems(found),
  );

  return {
    async stop(limitMs) {
      kernel?.yield();
      // The next leader takes over while this agent finishes.
      const announced = edge?.stopAnnouncing();
      // What is observed still counts while streams finish: a pod that goes meanwhile must be let go.
      await edge?.drain(limitMs);
      subscription[Symbol.dispose]();
      problems.stop();
      await programmer.stop();
      edge?.close();
      await announced;
      await api?.close();
    },
  };
}

const proxyOf = ({ proxy }: Options, settings: ProxySettings | undefined): NodeFactsOptions["proxy"] =>
  proxy === "all" ? (settings?.kernel.mode ?? "none") : proxy;
