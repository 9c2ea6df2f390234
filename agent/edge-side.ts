// What the agent does with its edge: the tunnel, the snapshot, and, in a cluster, the Lease and the status of Services. An agent
// that is a kube-proxy alone has none of it. Wires these together. The edge hears nothing of a node before there is a token, and
// before a state was observed in which these options may serve: what is wrong here must not stop what serves Services otherwise.
import type { Logger } from "pino";
import type { Condition } from "../src/shared/model/conditions.ts";
import type { Report } from "../src/shared/wire/messages.ts";
import { Announcer, publishWithoutLeader } from "./announcer.ts";
import { startController } from "./controller/controller.ts";
import type { Backends } from "./endpoints/endpoints.ts";
import type { Health } from "./health/healthz.ts";
import type { KubeApi } from "./kube/api.ts";
import type { LogOnce } from "./log-once.ts";
import { type EdgeOptions, type Options, readToken } from "./options.ts";
import type { AnswerProbe } from "./probe/prober.ts";
import { refusalToServe, type Rules } from "./rules.ts";
import type { Observed } from "./source/source.ts";
import { createTunnel } from "./tunnel/index.ts";

export interface EdgeSideOptions {
  readonly edge: EdgeOptions;
  readonly options: Pick<Options, "node" | "instance" | "default-class" | "force-default-class">;
  readonly software: string;
  readonly bundle: string | undefined;
  readonly rules: Rules;
  readonly backends: Backends;
  readonly answerProbe: AnswerProbe;
  readonly health: Health;
  readonly log: Logger;
  readonly logOnce: LogOnce;
  /** Undefined: the source is a folder of files, and every agent publishes. */
  readonly api: KubeApi | undefined;
  /** As the NodeProgrammer has them. */
  readonly served: () => Observed | undefined;
  readonly refused: (observed: Observed) => ReadonlyMap<string, string>;
  /** As the KernelProxy finds them. */
  readonly incomplete: () => ReadonlyMap<string, Condition>;
  /** Called once: the edge hears nothing of this node until a state is observed in which it may. */
  readonly onRefusal: (why: string) => void;
}

export interface EdgeSide {
  /** Before the plan of it is wanted. */
  observe(observed: Observed): void;
  /** The node can serve what its plan says: from now on the edge may send. */
  dial(): void;
  /** Offers what the node serves. */
  announce(): void;
  report(endpoints: Report["endpoints"]): void;
  /** Gives the Lease back, so that the next leader takes over while this agent finishes. */
  stopAnnouncing(): Promise<void>;
  /** Says GoAway; resolves when open streams have ended, after `limitMs` in any case. */
  drain(limitMs: number): Promise<void>;
  close(): void;
}

export function startEdgeSide(given: EdgeSideOptions): EdgeSide {
  const { options, software, bundle, backends, health, log, logOnce, api } = given;
  const { node, instance } = options;
  const { edge, cluster, tokenFile } = given.edge;
  let hasToken = false;
  const token = () => {
    const read = readToken(tokenFile);
    hasToken = true;
    return read;
  };
  const target = { edge, cluster, node, token, log };
  /** Once a state has passed, no later one is judged. */
  let standing: "unknown" | "refused" | "serves" = "unknown";
  const announcer = new Announcer({
    rules: given.rules,
    logOnce,
    served: given.served,
    refused: given.refused,
    incomplete: given.incomplete,
    start: (hooks) =>
      api === undefined
        ? publishWithoutLeader({ ...target, ...hooks })
        : startController({ ...target, ...hooks, api, identity: instance, installed: api.installed }),
    onAccepted: () => {
      health.metrics.publishes.inc();
      // The edge is there: no tunnel waits for it any longer.
      tunnel.redialNow();
    },
  });
  const tunnel = createTunnel({
    ...{ ...target, instance, software, bundle, backends, answerProbe: given.answerProbe },
    onState: (state) => {
      announcer.tunnelChanged(state);
      health.set(state);
      // With a token that came late.
      if (state.connected) announce();
    },
  });
  const dial = () => {
    if (standing === "serves") tunnel.dial();
  };
  const announce = () => {
    dial();
    // An agent without a token might lead, and keep those from publishing that have one.
    if (standing === "serves" && hasToken) announcer.announce();
  };
  return {
    observe(observed) {
      if (standing === "serves") return;
      const refusal = refusalToServe(options, observed);
      if (refusal !== undefined && standing === "unknown") given.onRefusal(refusal);
      standing = refusal === undefined ? "serves" : "refused";
    },
    dial,
    announce,
    report: (endpoints) => tunnel.report(endpoints),
    stopAnnouncing: () => announcer.stop(),
    async drain(limitMs) {
      let timer: NodeJS.Timeout | undefined;
      const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, limitMs)));
      await Promise.race([tunnel.drain(), limit]);
      clearTimeout(timer);
    },
    close: () => tunnel.close(),
  };
}
