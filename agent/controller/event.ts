// Which Events belong to a change of a Service's status. Pure. Each reason has one fixed message, or the condition's own, which
// holds no counts and no times. So equal Events can be found and counted instead of repeated.
import { type Condition, conditionType, isTrouble, PROGRAMMED } from "../../src/shared/model/conditions.ts";
import type { KubeService } from "../source/resources.ts";
import type { StatusPatch } from "./status.ts";

export interface ServiceEvent {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

/** Reasons of the leading agent's Events that are not a condition's name, with when each is written: docs/reference.md is made of it. */
export const statusEvents = {
  EnsuringLoadBalancer: { type: "Normal", when: "the Service becomes Postern's: it gets the finalizer" },
  EnsuredLoadBalancer: { type: "Normal", when: "the edge serves it, for the first time or again" },
  UpdatedLoadBalancer: { type: "Normal", when: "it is served at other names or ports than before" },
  DeletingLoadBalancer: { type: "Normal", when: "it is deleted, or Postern's no more, and the edge serves it no more" },
  DeletedLoadBalancer: { type: "Normal", when: "what Postern wrote on it is taken off, the finalizer too" },
  SyncLoadBalancerFailed: {
    type: "Warning",
    when: "the edge does not serve it, and the message says why; or the API server refused its finalizer or first status",
  },
  UpdateLoadBalancerFailed: {
    type: "Warning",
    when: "the API server refused its status: the leading agent's log says why",
  },
  DeleteLoadBalancerFailed: {
    type: "Warning",
    when: "the API server refused to take the finalizer off: the leading agent's log says why",
  },
  UnAvailableLoadBalancer: {
    type: "Warning",
    when: "no node may take its requests; the Event `NoEligibleNodes` beside it says which node is excluded by what",
  },
} as const satisfies Record<string, Pick<ServiceEvent, "type"> & { readonly when: string }>;

const event = (reason: keyof typeof statusEvents, message: string): ServiceEvent => ({
  type: statusEvents[reason].type,
  reason,
  message,
});

const ensuring = event("EnsuringLoadBalancer", "Ensuring load balancer");
const updated = event("UpdatedLoadBalancer", "Updated load balancer with new hosts");
const deleting = event("DeletingLoadBalancer", "Deleting load balancer");
const deleted = event("DeletedLoadBalancer", "Deleted load balancer");
const unavailable = event("UnAvailableLoadBalancer", "There are no available nodes for LoadBalancer");
/** For a patch that the API server refused. The agent's log says why. */
export const refusals = {
  mark: event("SyncLoadBalancerFailed", "The status could not be written: see the log of the leading agent"),
  write: event("UpdateLoadBalancerFailed", "The status could not be written: see the log of the leading agent"),
  release: event("DeleteLoadBalancerFailed", "The finalizer could not be removed: see the log of the leading agent"),
} as const;

/** `service` is the Service before the patch. */
export function eventsFor(service: KubeService, patch: StatusPatch): readonly ServiceEvent[] {
  if (patch.purpose === "mark") return [ensuring];
  if (patch.purpose === "release") return [deleting, deleted];
  const before = (type: string) => service.status.conditions.find((condition) => condition.type === type);
  const isNews = ({ type, status, reason }: Condition) =>
    before(type)?.status !== status || before(type)?.reason !== reason;
  const events: ServiceEvent[] = [];
  const programmed = patch.conditions.find(({ type }) => type === PROGRAMMED);
  if (programmed !== undefined && isNews(programmed)) {
    const good = programmed.status === "True";
    events.push(
      good
        ? event(
            "EnsuredLoadBalancer",
            service.spec.type === "LoadBalancer" ? "Ensured load balancer" : programmed.message,
          )
        : event("SyncLoadBalancerFailed", programmed.message),
    );
  } else if (JSON.stringify(patch.ingress) !== JSON.stringify(service.status.loadBalancer.ingress))
    events.push(updated);
  for (const condition of patch.conditions) {
    const { type, message } = condition;
    if (type === PROGRAMMED || !isTrouble(condition) || !isNews(condition)) continue;
    if (type === conditionType("NoEligibleNodes")) events.push(unavailable);
    events.push({ type: "Warning", reason: type.slice(type.indexOf("/") + 1), message });
  }
  return events;
}
