// This isolate's part of the access log: it makes a record of each answered request of a cluster whose log somebody reads, and hands
// records over to the cluster's object, several at a time. Memory only, and bounded: what does not fit is counted. Where nobody
// reads, no request gets here.
import { LOGGED_TEXT_MAX, type LogRecord, type LogTry, traceIdOf } from "../../shared/control/access-log.ts";
import type { Effects } from "../forward/transport.ts";
import type { Forwarded } from "../http/forwarded.ts";
import type { ClusterRpc } from "../rpc/contract.ts";
import type { Candidate, Context } from "./tables.ts";

/** Records are handed over so long after the first of them, ms. */
const GATHER_MS = 200;
/** A handing over that has not begun after so long, ms, was lost with the request that had begun it. */
const LOST_MS = 5_000;
/** Records of one cluster that wait to be handed over. */
const WAITING_MAX = 500;

/** What is known of a request when its answer is there. */
export interface Answered {
  readonly request: Request;
  readonly from: Forwarded;
  /** Path and query, as they came. */
  readonly target: string;
  /** The cluster that answered, or was to. */
  readonly candidate: Candidate;
  readonly arrivedAt: number;
  readonly response: Response;
  readonly tries: readonly LogTry[];
  readonly transport: LogRecord["transport"];
}

interface Batch {
  records: LogRecord[];
  leftOut: number;
  readonly startedAt: number;
}

interface Objects {
  readonly CLUSTER: { readonly getByName: (name: string) => Pick<ClusterRpc, "log"> };
}

export class AccessLog {
  readonly #effects: Pick<Effects, "now" | "later">;
  /** By cluster: what is gathered, and not handed over yet. */
  readonly #batches = new Map<string, Batch>();

  constructor(effects: Pick<Effects, "now" | "later">) {
    this.#effects = effects;
  }

  add(answered: Answered, { CLUSTER }: Objects, ctx: Context): void {
    const now = this.#effects.now();
    const cluster = answered.candidate.table.name;
    const record = recordOf(answered, now);
    const batch = this.#batches.get(cluster);
    if (batch !== undefined && now - batch.startedAt < LOST_MS) {
      if (batch.records.length < WAITING_MAX) batch.records.push(record);
      else batch.leftOut++;
      return;
    }
    this.#batches.set(cluster, {
      records: [...(batch?.records ?? []), record],
      leftOut: batch?.leftOut ?? 0,
      startedAt: now,
    });
    ctx.waitUntil(this.#handOver(cluster, CLUSTER));
  }

  async #handOver(cluster: string, namespace: Objects["CLUSTER"]): Promise<void> {
    await new Promise<void>((resolve) => void this.#effects.later(GATHER_MS, resolve));
    const { records = [], leftOut = 0 } = this.#batches.get(cluster) ?? {};
    this.#batches.delete(cluster);
    try {
      if (records.length > 0) await namespace.getByName(cluster).log(records, leftOut);
    } catch (error) {
      console.error(`lines of the access log of ${cluster} are lost`, error);
    }
  }
}

/** Pure. */
export function recordOf(
  { request, from, target, candidate: { match }, arrivedAt, response, tries, transport }: Answered,
  now: number,
): LogRecord {
  const { headers } = request;
  const userAgent = headers.get("user-agent");
  return {
    at: arrivedAt,
    ms: now - arrivedAt,
    client: from.client,
    scheme: from.scheme,
    hostname: match.hostname,
    port: match.port,
    method: cut(request.method),
    path: cut(target.split("?", 1)[0] ?? ""),
    status: response.status,
    reason: response.headers.get("x-postern-reason"),
    service: match.route.service,
    transport,
    tries,
    trace: traceIdOf(headers.get("traceparent")),
    userAgent: userAgent === null ? null : cut(userAgent),
  };
}

const cut = (text: string): string => (text.length > LOGGED_TEXT_MAX ? `${text.slice(0, LOGGED_TEXT_MAX)}…` : text);
