// Composes what the leader of a cluster does: it publishes the snapshot, and writes the edge's answer into the Services'
// status. Every agent has a controller, which only reads the Lease while another agent leads.
// The order is promised: a Service is marked (finalizer and condition) before it is published, it is published before its
// address is written, and it is gone from the edge before its finalizer is removed.
import type { Logger } from "pino";
import { conditionType } from "../../src/shared/model/conditions.ts";
import type { PublishResult, Snapshot } from "../../src/shared/model/snapshot.ts";
import type { KubeApi } from "../kube/api.ts";
import type { KubeService } from "../source/resources.ts";
import type { Observed } from "../source/source.ts";
import { EventRecorder } from "./event-recorder.ts";
import { Leader, type LeaseTimes } from "./leader.ts";
import { type Publisher, type PublisherOptions, startPublisher, type Term } from "../publish/push.ts";
import { type ExposedKind, FINALIZER, isMarked } from "./status.ts";
import { StatusWriter } from "./status-writer.ts";

export interface ControllerOptions extends Omit<PublisherOptions, "term" | "onResult"> {
  readonly api: KubeApi;
  /** The pod's UID. */
  readonly identity: string;
  /** By the manifest, as a DaemonSet. */
  readonly installed: boolean;
  /** This agent's node, shown in Events. */
  readonly node: string;
  readonly log: Logger;
  readonly exposedAs: (service: KubeService) => ExposedKind | undefined;
  readonly buildSnapshot: (observed: Observed) => Snapshot;
  readonly onResult: (result: PublishResult) => void;
  readonly onLeading: (leading: boolean) => void;
  readonly leaseTimes?: LeaseTimes;
  readonly askAgainMs?: number;
}

export interface Controller {
  /** Takes the latest complete state. The first call starts the campaign, because a leader must have seen everything. */
  offer(observed: Observed): void;
  /** Publishes the latest snapshot again, in case the edge lost it. */
  repeat(): void;
  /** Ends the writing and gives the Lease back, or, where Postern is being uninstalled, takes all marks off the Services. */
  stop(): Promise<void>;
}

/** Exists while this agent leads. */
interface Leadership {
  readonly publisher: Publisher;
  readonly writer: StatusWriter;
}

const DAEMON_SET = "postern-agent";
/** The edge cannot call when another cluster gives up a hostname. While one is refused, the snapshot is sent this often. */
const ASK_AGAIN_MS = 300_000;

export function startController(options: ControllerOptions): Controller {
  const { api, log } = options;
  const events = new EventRecorder(api, options.node, log);
  let observed: Observed | undefined;
  let leadership: Leadership | undefined;
  let askAgain: NodeJS.Timeout | undefined;

  const update = (to: Leadership): void => {
    if (observed === undefined) return;
    to.writer.observe(observed.services);
    const services = observed.services.filter((service) => isPublishable(service, options.exposedAs(service)));
    const snapshot = options.buildSnapshot({ ...observed, services });
    to.writer.offered(snapshot);
    to.publisher.offer(snapshot);
  };
  const startLeading = (term: Term): void => {
    const writer = new StatusWriter({ api, events, log, exposedAs: options.exposedAs, holds: () => term.holds() });
    const publisher = startPublisher({
      ...options,
      term,
      onResult: (result, snapshot) => {
        options.onResult(result);
        writer.conclude(result, snapshot);
        clearTimeout(askAgain);
        if (isContended(result)) askAgain = setTimeout(() => publisher.repeat(), options.askAgainMs ?? ASK_AGAIN_MS);
      },
    });
    leadership = { publisher, writer };
    options.onLeading(true);
    update(leadership);
  };
  const stopLeading = async (): Promise<Leadership | undefined> => {
    const left = leadership;
    leadership = undefined;
    clearTimeout(askAgain);
    if (left === undefined) return undefined;
    options.onLeading(false);
    await Promise.all([left.publisher.stop(), left.writer.stop()]);
    return left;
  };
  const leader = new Leader({
    api,
    identity: options.identity,
    log,
    onLead: startLeading,
    onLost: () => void stopLeading(),
    ...(options.leaseTimes === undefined ? {} : { times: options.leaseTimes }),
  });

  return {
    offer(latest) {
      observed = latest;
      if (leadership !== undefined) update(leadership);
      leader.campaign();
    },
    repeat: () => leadership?.publisher.repeat(),
    async stop() {
      const left = await stopLeading();
      const uninstalled = left !== undefined && (await isUninstalled(api, options.installed, log));
      if (uninstalled) {
        log.info("the agents are being uninstalled: taking finalizers and status off all Services");
        await left.writer.releaseAll();
      }
      events.stop();
      // An uninstalled agent keeps the Lease, so that no other one takes over for the last seconds and marks everything again.
      await leader.stop({ release: !uninstalled });
    },
  };
}

/** A LoadBalancer is published once it is marked. One that lost its finalizer to somebody else is marked still, and stays served. */
function isPublishable(service: KubeService, exposed: ExposedKind | undefined): boolean {
  return exposed !== "LoadBalancer" || isMarked(service) || service.metadata.finalizers.includes(FINALIZER);
}

const isContended = ({ services }: PublishResult): boolean =>
  Object.values(services).some(({ conditions }) =>
    conditions.some(({ type, status }) => type === conditionType("HostnameConflict") && status === "True"),
  );

/** An upgrade keeps the DaemonSet; so does a drain. Where it cannot be asked any more, the documented commands do it. */
async function isUninstalled(api: KubeApi, installed: boolean, log: Logger): Promise<boolean> {
  const namespace = `/api/v1/namespaces/${api.namespace}`;
  const daemonSet = `/apis/apps/v1/namespaces/${api.namespace}/daemonsets/${DAEMON_SET}`;
  const found = await fateOf(api, daemonSet, log);
  // Deleted in the background it is gone before its pods are; developers run an agent without any.
  if (found === "gone") return installed;
  // With its namespace the pods may go first.
  return found === "going" || (found === "stays" && (await fateOf(api, namespace, log)) === "going");
}

async function fateOf(api: KubeApi, path: string, log: Logger): Promise<"stays" | "going" | "gone" | "unknown"> {
  const answer = await api.call("GET", path, { signal: AbortSignal.timeout(5_000) });
  if (answer.kind === "status" && (answer.status === 401 || answer.status === 403)) {
    log.warn(
      "the API server refuses this agent, so Postern was most likely uninstalled, and its rights went first: if so, take its " +
        "marks off the Services with agent/manifests/uninstall.sh (docs/install.md, Uninstall)",
    );
  }
  if (answer.kind === "status" && answer.status === 404) return "gone";
  if (answer.kind !== "ok") return "unknown";
  const { metadata } = answer.body as { readonly metadata?: { readonly deletionTimestamp?: string } };
  return metadata?.deletionTimestamp === undefined ? "stays" : "going";
}
