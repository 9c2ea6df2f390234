// Why pods of a Service are not ready: one finding for each cause, with the pods that it has. Pure.
import type { CheckId } from "../checks.ts";
import type { Container, Facts, KubeEvent, Pod } from "../facts.ts";
import { type Finding, finding, several, softened } from "../finding.ts";
import { GRACE_MS, readyEndpoints, type Subject } from "../subject.ts";

interface Cause {
  readonly id: CheckId;
  /** What keeps it, without the pod's name. */
  readonly why: string;
  readonly mend: string;
}

export function podFindings(subject: Subject, { kube, now }: Facts): Finding[] {
  const { object, pods } = subject;
  if (subject.stance !== "ours") return [];
  const severity = readyEndpoints(subject).length === 0 ? "error" : "warning";
  const groups = new Map<string, { readonly cause: Cause; readonly pods: Pod[] }>();
  for (const pod of pods) {
    if (pod.ready) continue;
    const cause = causeOf(pod, kube.events);
    const key = `${cause.id} ${cause.why}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { cause, pods: [pod] });
    else group.pods.push(pod);
  }
  return [...groups.values()].map(({ cause, pods: those }) => {
    const seen = `${several(those.map(({ name }) => name))}: ${cause.why}`;
    const found = finding(cause.id, severity, object, seen, cause.mend);
    return those.every(({ createdAt }) => now - createdAt < GRACE_MS) ? softened(found) : found;
  });
}

const NOT_PULLED =
  /^(ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|ImageInspectError|RegistryUnavailable)$/;
const NOT_STARTED =
  /^(CreateContainerConfigError|CreateContainerError|RunContainerError|PreCreateHookError|PostStartHookError)$/;
/** What the kubelet says while a container only waits for its turn. */
const WAITING = new Set(["ContainerCreating", "PodInitializing", ""]);

function causeOf(pod: Pod, events: readonly KubeEvent[]): Cause {
  const { namespace, name, containers } = pod;
  const describe = `kubectl -n ${namespace} describe pod ${name}`;
  if (pod.unschedulable !== undefined) return { id: "not-scheduled", why: pod.unschedulable, mend: describe };
  const waiting = (pattern: RegExp) => containers.find((each) => pattern.test(each.waiting?.reason ?? ""));
  const unpulled = waiting(NOT_PULLED);
  if (unpulled !== undefined) {
    const event = lastEvent(pod, events, /^(Failed|ErrImageNeverPull|InspectFailed)$/);
    const why = `container ${unpulled.name}, image ${unpulled.image}: ${said(unpulled, event)}`;
    return { id: "image-not-pulled", why, mend: describe };
  }
  const unstarted = waiting(NOT_STARTED);
  if (unstarted !== undefined)
    return { id: "container-not-started", why: `container ${unstarted.name}: ${said(unstarted)}`, mend: describe };
  const crashing = containers.find(isCrashing);
  if (crashing !== undefined) {
    const { reason = "", exitCode = 0 } = crashing.ended ?? {};
    return {
      id: "crash-looping",
      why: `container ${crashing.name} ends with exit code ${exitCode}${reason === "" ? "" : ` (${reason})`}`,
      mend: `kubectl -n ${namespace} logs ${name} -c ${crashing.name} --previous`,
    };
  }
  const probed = lastEvent(pod, events, /^Unhealthy$/, /^Readiness probe/);
  if (containers.every((each) => each.waiting === undefined)) {
    const unready = containers.find((each) => !each.ready && each.readiness !== undefined);
    if (unready === undefined && probed === undefined)
      return { id: "no-ready-pods", why: `it is ${pod.phase} and not Ready`, mend: describe };
    const asks = unready === undefined ? "" : `container ${unready.name} is asked by ${unready.readiness}`;
    return {
      id: "readiness-failing",
      why: [asks, probed?.message.replace(/^Readiness probe \w+: /, "it says: ").trim() ?? ""]
        .filter((part) => part !== "")
        .join("; "),
      mend: `kubectl -n ${namespace} logs ${name}; ${describe}`,
    };
  }
  const held = containers.find((each) => each.waiting !== undefined);
  const event = lastEvent(pod, events, /^(FailedMount|FailedAttachVolume|FailedCreatePodSandBox|Failed)$/);
  const reason = held?.waiting?.reason ?? "";
  const why =
    event?.message ?? (WAITING.has(reason) ? `container ${held?.name} waits: ${reason || pod.phase}` : reason);
  return { id: "container-not-started", why, mend: describe };
}

const isCrashing = ({ waiting, ended, restarts, ready }: Container): boolean =>
  !ready &&
  (waiting?.reason === "CrashLoopBackOff" ||
    (ended !== undefined && (restarts > 0 || ended.exitCode !== 0) && waiting === undefined));

const said = ({ waiting }: Container, event?: KubeEvent): string =>
  [waiting?.reason ?? "", waiting?.message || (event?.message ?? "")].filter((part) => part !== "").join(": ");

function lastEvent(pod: Pod, events: readonly KubeEvent[], reason: RegExp, message = /(?:)/): KubeEvent | undefined {
  return events
    .filter(
      (event) =>
        event.kind === "Pod" &&
        event.namespace === pod.namespace &&
        event.name === pod.name &&
        reason.test(event.reason) &&
        message.test(event.message),
    )
    .sort((a, b) => b.at - a.at)[0];
}
