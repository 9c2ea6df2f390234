// One attempt to patch a Service's status, and what became of it; tells the Events that it is worth. Decides nothing, retries
// nothing. 404, 409 and another UID are answers, not errors: the watch brings what is true.
import type { Logger } from "pino";
import { describe, type KubeApi, STRATEGIC_MERGE } from "../kube/api.ts";
import { type KubeService, serviceSchema } from "../source/resources.ts";
import type { Events } from "./event-recorder.ts";
import { MANAGER, type StatusPatch } from "./status.ts";
import { happenings, refusals } from "./event.ts";

/** Sent before a leader's deadline, a patch is over before anybody else can lead. */
const ANSWER_MS = 5_000;

export type Attempt =
  /** The Service as it is now. */
  | KubeService
  /** It changed or went meanwhile: the watch will say how. */
  | "overtaken"
  /** The same would be refused again. */
  | "refused"
  /** As good as unsent. */
  | "unreachable";

interface To {
  readonly api: KubeApi;
  readonly events: Events;
  readonly log: Logger;
}

export async function attempt({ api, events, log }: To, service: KubeService, patch: StatusPatch): Promise<Attempt> {
  const { namespace, name, uid } = service.metadata;
  const path = `/api/v1/namespaces/${namespace}/services/${name}`;
  const answer = await api.call("PATCH", `${path}/status`, {
    query: { fieldManager: MANAGER },
    body: patch.body,
    contentType: STRATEGIC_MERGE,
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  if (answer.kind === "ok") {
    events.tell(service, happenings(service, patch));
    return serviceSchema.safeParse(answer.body).data ?? "overtaken";
  }
  if (answer.kind === "status" && (answer.status === 404 || answer.status === 409)) return "overtaken";
  const why = `Service ${namespace}/${name}: its status could not be written (${patch.purpose}): the API server ${describe(answer)}`;
  if (answer.kind === "unreachable" || answer.status >= 500 || answer.status === 429) {
    // The source and the Lease say once that it is away, not each Service.
    log.debug(why);
    return "unreachable";
  }
  // Deleted and made anew meanwhile: the uid in the patch is "invalid" then.
  const present = await api.call("GET", path, { signal: AbortSignal.timeout(ANSWER_MS) });
  const found = present.kind === "ok" ? serviceSchema.safeParse(present.body).data : undefined;
  if (found !== undefined && found.metadata.uid !== uid) return "overtaken";
  log.warn(why);
  events.tell(service, [refusals[patch.purpose]]);
  return "refused";
}
