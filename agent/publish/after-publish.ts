// What to do after an attempt to publish. Pure: it takes outcome, memory and `random`, and returns the next step.
//
// With a folder of files as source there is no Lease and no leader: every agent publishes, but only when its own content
// changed, and the edge takes equal content from anybody. Where two differ, whoever has the newer epoch holds; the other
// waits a moment (most likely it saw the same edit a little earlier or later, and then their contents are equal) and only if
// they still differ claims an epoch of its own. Nobody polls, and two agents cannot take turns: none insists twice on the
// same content.
import { jitteredBackoff } from "../../src/shared/net/backoff.ts";

export type PublishOutcome =
  | { readonly kind: "accepted" }
  /** 409: a newer epoch published something else. */
  | { readonly kind: "superseded" }
  /** Network, 5xx, 429 or 408: the snapshot may be sent again. `afterMs` is the pause that the edge asked for. */
  | { readonly kind: "unreachable"; readonly why: string; readonly afterMs?: number }
  /** 401, 403. */
  | { readonly kind: "unauthorised"; readonly why: string }
  /** Any other 4xx: the same content would be refused again. */
  | { readonly kind: "refused"; readonly why: string };

export interface Memory {
  /** How many attempts in a row ended as "unreachable". */
  readonly failures: number;
  /** True once the present content has waited out its grace. */
  readonly graceSpent: boolean;
  /**
   * The content is news, and has to prevail. False when known content is only sent again after a reconnect, in case the
   * edge lost it: an agent that missed an edit must not undo it then.
   */
  readonly insists: boolean;
}

export const freshMemory: Memory = { failures: 0, graceSpent: false, insists: true };

export type Step =
  /** Do nothing until the content changes. */
  | { readonly do: "rest" }
  | { readonly do: "publish"; readonly afterMs: number; readonly memory: Memory }
  /** Claim a new epoch, then publish at once. */
  | { readonly do: "claim"; readonly memory: Memory }
  /** Wait until the token changes. */
  | { readonly do: "await-token" };

export const GRACE_MS = 3_000;
const UNREACHABLE = { firstMs: 500, maxMs: 30_000 };
/** The longest pause that the edge may ask for. */
const ASKED_MAX_MS = 300_000;

export function afterPublish(outcome: PublishOutcome, memory: Memory, random: () => number): Step {
  switch (outcome.kind) {
    case "accepted":
    case "refused":
      return { do: "rest" };
    case "unauthorised":
      return { do: "await-token" };
    case "superseded":
      return afterSuperseded(memory, random);
    default:
      return afterUnreachable(outcome, memory, random);
  }
}

function afterSuperseded(memory: Memory, random: () => number): Step {
  if (!memory.insists) return { do: "rest" };
  if (memory.graceSpent) return { do: "claim", memory: freshMemory };
  // Not all agents of a cluster at the same moment.
  const afterMs = Math.round(GRACE_MS * (1 + random() / 2));
  return { do: "publish", afterMs, memory: { failures: 0, graceSpent: true, insists: true } };
}

function afterUnreachable({ afterMs = 0 }: { readonly afterMs?: number }, memory: Memory, random: () => number): Step {
  // Full jitter, on top of what was asked for: the edge comes back to everybody at once.
  const wait = Math.round(Math.min(afterMs, ASKED_MAX_MS)) + jitteredBackoff(memory.failures, UNREACHABLE, random);
  return { do: "publish", afterMs: wait, memory: { ...memory, failures: memory.failures + 1 } };
}
