// Patches a Service's status once, says what came of it, and records the Events that belong to the change. It does not retry.
// 404, 409 and another UID are answers, not errors: the watch will bring the present state.
import type { Logger } from "pino";
import { describe, type KubeApi, STRATEGIC_MERGE } from "../kube/api.ts";
import { type KubeService, serviceSchema } from "../source/resources.ts";
import type { EventRecorder } from "./event-recorder.ts";
import { MANAGER, type StatusPatch } from "./status.ts";
import { eventsFor, refusals } from "./event.ts";

/** Short enough that a patch which begins before the leader's deadline has ended before another agent can lead. */
const ANSWER_MS = 5_000;

export type PatchResult =
  /** The Service as it is now. */
  | KubeService
  /** The Service changed or was deleted meanwhile: the watch will say how. */
  | "overtaken"
  /** The API server would refuse the same patch again. */
  | "refused"
  /** The patch may be sent again. */
  | "unreachable";

interface To {
  readonly api: KubeApi;
  readonly events: EventRecorder;
  readonly log: Logger;
}

export async function patchStatus(
  { api, events, log }: To,
  service: KubeService,
  patch: StatusPatch,
): Promise<PatchResult> {
  const { namespace, name, uid } = service.metadata;
  const path = `/api/v1/namespaces/${namespace}/services/${name}`;
  const answer = await api.call("PATCH", `${path}/status`, {
    query: { fieldManager: MANAGER },
    body: patch.body,
    contentType: STRATEGIC_MERGE,
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  if (answer.kind === "ok") {
    events.record(service, eventsFor(service, patch));
    return serviceSchema.safeParse(answer.body).data ?? "overtaken";
  }
  if (answer.kind === "status" && (answer.status === 404 || answer.status === 409)) return "overtaken";
  const why = `Service ${namespace}/${name}: its status could not be written (${patch.purpose}): the API server ${describe(answer)}`;
  if (answer.kind === "unreachable" || answer.status >= 500 || answer.status === 429) {
    // The source and the Lease warn once that the API server is away; a line for each Service would be too many.
    log.debug(why);
    return "unreachable";
  }
  // If the Service was deleted and created anew meanwhile, the API server calls the uid in the patch "invalid".
  const present = await api.call("GET", path, { signal: AbortSignal.timeout(ANSWER_MS) });
  const found = present.kind === "ok" ? serviceSchema.safeParse(present.body).data : undefined;
  if (found !== undefined && found.metadata.uid !== uid) return "overtaken";
  log.warn(why);
  events.record(service, [refusals[patch.purpose]]);
  return "refused";
}
