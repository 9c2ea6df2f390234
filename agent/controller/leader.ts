// Elects one leader among the agents of a cluster, by the Lease `postern-leader` in the agents' own namespace. It is a shell
// around lease.ts that owns the timer and the Lease's version. The leader renews; every other agent reads the Lease every few
// seconds. A leader that could not renew in time stops leading before another agent can take over, even if a call still hangs.
// Writers ask Term.holds() right before each write, so that a process that was paused writes nothing when it wakes.
// Nothing survives a restart. The pod's UID is the identity, and transitions distinguish the old process from the new one.
import type { Logger } from "pino";
import { z } from "zod";
import { type Answer, describe, type KubeApi } from "../kube/api.ts";
import { decideLease, type LeaseRecord } from "./lease.ts";
import type { Term } from "../publish/push.ts";

export interface LeaderOptions {
  readonly api: KubeApi;
  /** The pod's UID: unique, where host names are not (hostNetwork). */
  readonly identity: string;
  readonly log: Logger;
  readonly onLead: (term: Term) => void;
  readonly onLost: () => void;
  readonly random?: () => number;
  readonly times?: LeaseTimes;
}

export interface LeaseTimes {
  readonly durationMs: number;
  /** A leader that has not renewed for this long stops leading. Well below the duration. */
  readonly deadlineMs: number;
  readonly renewMs: number;
}
export const leaseTimes: LeaseTimes = { durationMs: 15_000, deadlineMs: 10_000, renewMs: 3_000 };

const NAME = "postern-leader";
const leaseSchema = z.object({
  metadata: z.object({ resourceVersion: z.string() }),
  spec: z.object({
    holderIdentity: z.string().nullish(),
    leaseDurationSeconds: z.number().nullish(),
    leaseTransitions: z.int().min(0).nullish(),
  }),
});

export class Leader {
  readonly #options: LeaderOptions;
  readonly #times: LeaseTimes;
  readonly #random: () => number;
  readonly #path: string;
  /** The Lease as this process wrote it last; undefined while it does not lead. */
  #held: LeaseRecord | undefined;
  #renewedAt = 0;
  #acquired = "";
  #expiry: NodeJS.Timeout | undefined;
  #seen: LeaseRecord | undefined;
  #seenAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #warned = "";
  /** Writes go one after the other: each needs the version that the one before made. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#times = options.times ?? leaseTimes;
    this.#random = options.random ?? Math.random;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${options.api.namespace}/leases`;
  }

  /** Call when everything is observed that a leader needs to know. */
  campaign(): void {
    if (this.#timer === undefined && !this.#stopped) this.#timer = setTimeout(() => void this.#tick(), 0);
  }

  /** Call after the last write. `release` gives the Lease back, so that the next leader need not wait. */
  async stop({ release }: { readonly release: boolean }): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#exclusively(async () => {
      clearTimeout(this.#expiry);
      const held = this.#held;
      this.#held = undefined;
      if (held !== undefined && release) await this.#write({ ...held, holder: "", durationMs: 1_000 });
    });
  }

  async #tick(): Promise<void> {
    await this.#exclusively(() => (this.#held === undefined ? this.#tryAcquire() : this.#renew()));
    if (this.#stopped) return;
    // Jitter, so that the followers do not read the Lease all at once.
    const wait = this.#times.renewMs * (this.#held === undefined ? 1 + this.#random() / 2 : 1);
    this.#timer = setTimeout(() => void this.#tick(), wait);
  }

  async #tryAcquire(): Promise<void> {
    const answer = await this.#call("GET", `${this.#path}/${NAME}`);
    const found = answer.kind === "ok" ? recordOf(answer.body) : undefined;
    if (found === undefined && !(answer.kind === "status" && answer.status === 404)) {
      return this.#warnOnce(answer);
    }
    const now = performance.now();
    if (found?.version !== this.#seen?.version) [this.#seen, this.#seenAt] = [found, now];
    const step = decideLease(found, now - this.#seenAt, this.#options.identity);
    if (step.do === "wait" || this.#stopped) return;
    const transitions = step.do === "take" ? step.transitions : 0;
    const mine = { version: found?.version ?? "", holder: this.#options.identity, transitions };
    const begun = performance.now();
    this.#acquired = microTime(new Date());
    const written = await this.#write({ ...mine, durationMs: this.#times.durationMs });
    if (written === undefined) return;
    this.#renewed(written, begun);
    // If it was stopped meanwhile, stop() waits for this and gives the Lease back.
    if (this.#stopped) return;
    this.#options.log.info({ epoch: transitions }, "this agent leads: it publishes, and writes the Services' status");
    this.#options.onLead({
      epoch: transitions,
      raise: (epoch) => this.#raise(epoch),
      holds: () => this.#holds(),
    });
  }

  async #renew(): Promise<void> {
    const held = this.#held;
    if (held === undefined) return;
    const begun = performance.now();
    const written = await this.#write(held);
    // The deadline passed during the write.
    if (this.#held === undefined) return;
    if (written !== undefined) return this.#renewed(written, begun);
    if (await this.#isTaken()) this.#lose();
  }

  /** After a failed renewal: whether another agent holds the Lease by now. If that cannot be read, the deadline decides. */
  async #isTaken(): Promise<boolean> {
    const answer = await this.#call("GET", `${this.#path}/${NAME}`);
    if (this.#held === undefined) return false;
    if (answer.kind !== "ok") return answer.kind === "status" && answer.status === 404;
    const found = recordOf(answer.body);
    if (found?.holder !== this.#options.identity || found.transitions !== this.#held.transitions) return true;
    // Still ours: somebody changed it (an annotation, a label), or the answer to our own write was lost.
    this.#held = found;
    return false;
  }

  #renewed(lease: LeaseRecord, begun: number): void {
    [this.#held, this.#renewedAt] = [lease, begun];
    clearTimeout(this.#expiry);
    this.#expiry = setTimeout(() => this.#lose(), begun + this.#times.deadlineMs - performance.now());
  }

  /** Compares the clock as well: after a pause of the process the deadline may have passed before its timer fires. */
  #holds(): boolean {
    return this.#held !== undefined && performance.now() - this.#renewedAt < this.#times.deadlineMs;
  }

  #lose(): void {
    clearTimeout(this.#expiry);
    this.#held = undefined;
    this.#options.log.warn("this agent does not lead any more: another one does, or the Lease could not be renewed");
    this.#options.onLost();
  }

  async #raise(epoch: number): Promise<boolean> {
    return await this.#exclusively(async () => {
      if (this.#held === undefined) return false;
      const written = await this.#write({ ...this.#held, transitions: Math.max(epoch, this.#held.transitions) });
      if (written !== undefined) this.#held = written;
      return written !== undefined;
    });
  }

  /** Compare-and-swap. Returns undefined if the Lease was not written. */
  async #write(lease: LeaseRecord): Promise<LeaseRecord | undefined> {
    const create = lease.version === "";
    const body = {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: {
        name: NAME,
        namespace: this.#options.api.namespace,
        ...(create ? {} : { resourceVersion: lease.version }),
      },
      spec: {
        holderIdentity: lease.holder,
        leaseDurationSeconds: Math.max(1, Math.round(lease.durationMs / 1000)),
        leaseTransitions: lease.transitions,
        renewTime: microTime(new Date()),
        acquireTime: this.#acquired,
      },
    };
    const answer = create
      ? await this.#call("POST", this.#path, body)
      : await this.#call("PUT", `${this.#path}/${NAME}`, body);
    if (answer.kind === "ok") return recordOf(answer.body);
    // 409 means that another agent was faster, which is no trouble.
    if (answer.kind !== "status" || answer.status !== 409) this.#warnOnce(answer);
    return undefined;
  }

  async #call(method: "GET" | "POST" | "PUT", path: string, body?: object): Promise<Answer> {
    // Shorter than the deadline: a hanging call must not keep this agent leading.
    const signal = AbortSignal.timeout(Math.round(this.#times.deadlineMs / 2));
    return await this.#options.api.call(method, path, { signal, ...(body === undefined ? {} : { body }) });
  }

  /** Warns of the same trouble once. */
  #warnOnce(answer: Answer): void {
    const text = answer.kind === "ok" ? "is no Lease that can be read" : describe(answer);
    const log = text === this.#warned ? "debug" : "warn";
    this.#warned = text;
    this.#options.log[log](`Lease ${this.#options.api.namespace}/${NAME}: the API server ${text}`);
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work, work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

function recordOf(body: unknown): LeaseRecord | undefined {
  const parsed = leaseSchema.safeParse(body);
  if (!parsed.success) return undefined;
  const { metadata, spec } = parsed.data;
  return {
    version: metadata.resourceVersion,
    holder: spec.holderIdentity ?? "",
    transitions: spec.leaseTransitions ?? 0,
    durationMs: (spec.leaseDurationSeconds ?? 0) * 1000,
  };
}

/** "2026-01-31T12:00:00.123000Z" */
const microTime = (time: Date): string => time.toISOString().replace("Z", "000Z");
