// The agent, put together: source → plan → node, and source → snapshot → edge. Owns the order of things: the node is
// programmed before the edge is told, so that what the edge routes here is already served. Holds no rules of its own.
// Nothing survives a restart.
import { networkInterfaces } from "node:os";
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { PublishResult } from "../src/shared/model/snapshot.ts";
import type { Applied } from "./dataplane/executor.ts";
import { userspaceAlgorithms } from "./dataplane/userspace/balance/index.ts";
import { Backends } from "./dataplane/userspace/endpoints.ts";
import { userspaceExecutor } from "./dataplane/userspace/executor.ts";
import type { Health } from "./health/healthz.ts";
import { Listening } from "./health/listening.ts";
import { KubeApi } from "./kube/api.ts";
import { type Access, kubeconfigAccess, podAccess } from "./kube/access.ts";
import { type Options, readToken } from "./options.ts";
import { exposedAs } from "./plan/eligible.ts";
import { buildPlan, externalNames, refusedAddresses } from "./plan/forwarding.ts";
import { nodeProblems } from "./plan/nodes.ts";
import { buildSnapshot } from "./plan/snapshot.ts";
import { type Controller, startController } from "./publish/controller.ts";
import { startPublisher } from "./publish/push.ts";
import { refusalOfDefaultClass } from "./publish/rivals.ts";
import { Programmer } from "./program.ts";
import { Spoken } from "./spoken.ts";
import { filesSource } from "./source/files/index.ts";
import { kubeSource } from "./source/kube/index.ts";
import { Names } from "./source/names.ts";
import type { Observed, Source } from "./source/source.ts";
import { createTunnel } from "./tunnel/index.ts";

export interface RunningAgent {
  /** GoAway, finish what is open (at most `limitMs`), stop. */
  stop(limitMs: number): Promise<void>;
}

/** `onRefusal`: what is there forbids to go on; the agent does nothing until it is stopped. */
export function startAgent(
  options: Options,
  software: string,
  log: Logger,
  health: Health,
  onRefusal: (why: string) => void,
): RunningAgent {
  const { cluster, node, address } = options;
  const edge = new URL(options.edge);
  const token = () => readToken(options["token-file"]);
  const rules = {
    defaultClass: options["default-class"] || options["force-default-class"],
    allowExternalName: options["allow-external-name"],
    ignoreExcludeLabel: options["ignore-exclude-label"],
    directAddressType: options["direct-address-type"],
    clusterDomain: options["cluster-domain"],
    endpointAlgorithms: userspaceAlgorithms,
    slicesFollow: options.source === "kube",
    nodePorts: options.proxy !== "none",
  };

  const backends = new Backends();
  const executor =
    options.proxy === "userspace" && address !== undefined ? userspaceExecutor({ address, backends }) : undefined;
  const spoken = new Spoken((text) => log.warn(text));
  let observed: Observed | undefined;
  let failures: Applied["problems"] = [];
  /** "namespace/name" → what of an ExternalName this node leaves out, and why. */
  let leftOut: ReadonlyMap<string, string> = new Map();
  let stopping = false;
  /** Of the leader alone; there is none where a folder of files is the source, for all agents must publish the same. */
  let listening: Listening | undefined;
  /** Undefined until the first connection. */
  let connected: boolean | undefined;

  const { source, publisher, api } = connect(options, {
    edge,
    cluster,
    token,
    log,
    exposedAs: (service) => exposedAs(service, rules),
    buildSnapshot: (latest) => {
      // What this node alone finds, only the leader says: where all agents publish, all must say the same.
      const own = listening === undefined ? {} : { silent: listening.silent, refused: refused(latest) };
      const snapshot = buildSnapshot(latest, { ...rules, ...own });
      listening?.watch(snapshot.services);
      return snapshot;
    },
    onResult: (result) => {
      health.publishes.inc();
      // The edge is there: no tunnel waits for it any longer.
      tunnel.redialNow();
      spoken.say("conditions", conditionLines(result));
    },
    onLeading: (leading) => {
      if (!leading) spoken.say("conditions", []);
      listening?.stop();
      listening = leading ? new Listening({ onChange: () => publish() }) : undefined;
    },
  });
  const tunnel = createTunnel({
    edge,
    cluster,
    token,
    node,
    instance: options.instance,
    software,
    backends,
    log,
    onState: (state) => {
      // An edge that lost its state (a new deployment) is told again.
      if (state.connected && connected === false) publisher.repeat();
      if (state.connected || connected !== undefined) connected = state.connected;
      health.set({ connected: state.connected });
    },
  });

  const report = () => {
    const broken = backends.problems();
    spoken.say(
      "endpoints",
      broken.map(({ endpoint, reason }) => `Service ${endpoint} ${reason}`),
    );
    const unopened = failures.map(({ service, message }) => ({
      endpoint: `${service} ${address ?? node}`,
      reason: message,
    }));
    const left = [...leftOut].map(([endpoint, reason]) => ({ endpoint, reason }));
    tunnel.report([...broken, ...unopened, ...left].map((each) => ({ ...each, reason: each.reason.slice(0, 256) })));
    health.problems.set({ about: "endpoints" }, broken.length);
    health.problems.set({ about: "executor" }, failures.length);
  };
  const brokenEndpoints = backends.onProblems(report);

  const programmer = new Programmer({
    apply: (plan) => {
      if (executor !== undefined) return executor.apply(plan);
      backends.update(plan);
      return { problems: [] };
    },
    onApplied: ({ problems }) => {
      failures = problems;
      spoken.say(
        "executor",
        failures.map(({ service, message }) => `Service ${service}: ${message}`),
      );
      report();
      health.set({ programmed: true });
      tunnel.dial();
    },
    onAgreed: () => publish(),
  });

  const planOptions = () => ({ ...rules, resolved: names.addresses, localAddresses });
  const refused = (latest: Observed) => refusedAddresses(latest, node, planOptions());
  const program = (): void => {
    if (observed === undefined || stopping) return;
    const found = refused(observed);
    spoken.say(
      "external names",
      [...found].map(([service, why]) => `Service ${service}: ${why}`),
    );
    if (!isDeepStrictEqual(found, leftOut)) {
      leftOut = found;
      report();
    }
    programmer.want(buildPlan(observed, node, planOptions()));
  };

  /** Nothing that this node does not serve yet: then the programmer calls again. */
  const publish = (): void => {
    if (observed !== undefined && !stopping && programmer.agrees) publisher.offer(observed);
  };

  const names = new Names(
    () => program(),
    (unknown) =>
      spoken.say(
        "names",
        unknown.map(({ name, why }) => `externalName ${name} cannot be looked up on this node: ${why}`),
      ),
  );
  const subscription = source.subscribe(
    (latest) => {
      if (observed === undefined && rules.defaultClass && !options["force-default-class"]) {
        const refusal = refusalOfDefaultClass(latest.services);
        if (refusal !== undefined) return onRefusal(refusal);
      }
      observed = latest;
      health.set({ synced: true });
      health.observed.set({ kind: "Service" }, latest.services.length);
      health.observed.set({ kind: "EndpointSlice" }, latest.endpointSlices.length);
      health.observed.set({ kind: "Node" }, latest.nodes.length);
      spoken.say("nodes", nodeProblems(latest.nodes));
      if (!latest.nodes.some(({ metadata }) => metadata.name === node)) {
        spoken.say("self", [
          `no Node is called ${node}: the edge will send nothing here. Start the agent with --node and the Node's name`,
        ]);
      } else spoken.say("self", []);
      names.watch(externalNames(latest, rules));
      program();
    },
    (problems) => {
      health.problems.set({ about: "source" }, problems.length);
      spoken.say(
        "source",
        problems.map(({ where, message }) => `${where}: ${message}`),
      );
    },
  );

  return {
    async stop(limitMs) {
      // What is observed still counts while streams finish: a pod that goes meanwhile must be let go.
      let timer: NodeJS.Timeout | undefined;
      const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, limitMs)));
      // The next leader takes over while this agent finishes.
      const published = publisher.stop();
      await Promise.race([tunnel.drain(), limit]);
      clearTimeout(timer);
      stopping = true;
      subscription[Symbol.dispose]();
      brokenEndpoints[Symbol.dispose]();
      names.stop();
      await programmer.stop();
      await executor?.clear();
      tunnel.close();
      await published;
      await api?.close();
    },
  };
}

/** Of all interfaces, those that Kubernetes does not know of included. */
const localAddresses = (): readonly string[] =>
  Object.values(networkInterfaces()).flatMap((of) => (of ?? []).map(({ address }) => address));

/** Throws an error that names what is missing. */
export function accessOf({ kubeconfig }: Options): Access {
  return kubeconfig === undefined ? podAccess(process.env) : kubeconfigAccess(kubeconfig);
}

/** Where the cluster is read from, and who tells the edge: with files every agent, with an API server the leader alone. */
function connect(
  options: Options,
  publishing: Omit<Parameters<typeof startController>[0], "api" | "identity" | "installed" | "node">,
): { readonly source: Source; readonly publisher: Controller; readonly api: KubeApi | undefined } {
  const { source, manifests, instance: identity, node } = options;
  const installed = options.kubeconfig === undefined;
  if (source === "files") {
    const publisher = startPublisher(publishing);
    return {
      source: filesSource(manifests ?? "."),
      publisher: {
        offer: (observed) => publisher.offer(publishing.buildSnapshot(observed)),
        repeat: () => publisher.repeat(),
        stop: () => publisher.stop(),
      },
      api: undefined,
    };
  }
  const api = new KubeApi(accessOf(options));
  return {
    source: kubeSource({ api }),
    publisher: startController({ ...publishing, api, identity, installed, node }),
    api,
  };
}

/** What the edge says of each Service, where there is something to do: "Service default/web: no pod matches …". */
function conditionLines({ services }: PublishResult): string[] {
  return Object.entries(services).flatMap(([service, { conditions }]) =>
    conditions
      // HostNotKept is what transport direct means, not a fault; Programmed is good news when it is True.
      .filter(({ type }) => type !== "postern.dev/HostNotKept")
      .filter(({ type, status }) => (status === "True") !== (type === "postern.dev/Programmed"))
      .map(({ message }) => `Service ${service}: ${message}`),
  );
}
