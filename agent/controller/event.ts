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

const normal = (reason: string, message: string): ServiceEvent => ({ type: "Normal", reason, message });
const warning = (reason: string, message: string): ServiceEvent => ({ type: "Warning", reason, message });

const ensuring = normal("EnsuringLoadBalancer", "Ensuring load balancer");
const updated = normal("UpdatedLoadBalancer", "Updated load balancer with new hosts");
const deleting = normal("DeletingLoadBalancer", "Deleting load balancer");
const deleted = normal("DeletedLoadBalancer", "Deleted load balancer");
const unavailable = warning("UnAvailableLoadBalancer", "There are no available nodes for LoadBalancer");
/** For a patch that the API server refused. The agent's log says why. */
export const refusals = {
  mark: warning("SyncLoadBalancerFailed", "The status could not be written: see the log of the leading agent"),
  write: warning("UpdateLoadBalancerFailed", "The status could not be written: see the log of the leading agent"),
  release: warning("DeleteLoadBalancerFailed", "The finalizer could not be removed: see the log of the leading agent"),
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
        ? normal(
            "EnsuredLoadBalancer",
            service.spec.type === "LoadBalancer" ? "Ensured load balancer" : programmed.message,
          )
        : warning("SyncLoadBalancerFailed", programmed.message),
    );
  } else if (JSON.stringify(patch.ingress) !== JSON.stringify(service.status.loadBalancer.ingress))
    events.push(updated);
  for (const condition of patch.conditions) {
    const { type, message } = condition;
    if (type === PROGRAMMED || !isTrouble(condition) || !isNews(condition)) continue;
    if (type === conditionType("NoEligibleNodes")) events.push(unavailable);
    events.push(warning(type.slice(type.indexOf("/") + 1), message));
  }
  return events;
}
