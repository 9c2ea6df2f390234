// The two calls of the control API that publishing needs, each one attempt that ends as a PublishOutcome and never throws.
// Owns its connections. Certificates are always verified; redirects are not followed, for the token must not travel on.
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { Agent, request } from "undici";
import {
  type Answer,
  ANSWER_MAX_BYTES,
  ControlClient,
  type ControlTarget,
  type Failure,
  type Send,
} from "../../src/shared/control/client.ts";
import type { PublishResult, SnapshotGeneration } from "../../src/shared/model/snapshot.ts";
import type { PublishOutcome } from "./after-publish.ts";

export interface Target extends ControlTarget {
  readonly cluster: string;
  /** Of this agent; the edge is told who published. */
  readonly node?: string;
}

const CONNECT_MS = 10_000;
const ANSWER_MS = 30_000;

const compress = promisify(gzip);

interface Attempt<T> {
  readonly outcome: PublishOutcome;
  readonly value?: T;
}

export class EdgeClient {
  readonly #cluster: string;
  readonly #node: string | undefined;
  readonly #client: ControlClient;
  readonly #agent = new Agent({
    connect: { timeout: CONNECT_MS },
    headersTimeout: ANSWER_MS,
    bodyTimeout: ANSWER_MS,
    maxResponseSize: ANSWER_MAX_BYTES,
  });

  constructor(target: Target) {
    this.#cluster = target.cluster;
    this.#node = target.node;
    this.#client = new ControlClient(target, this.#send);
  }

  async claimEpoch(): Promise<Attempt<{ epoch: number }>> {
    return attempt(await this.#client.claimEpoch(this.#cluster));
  }

  /** `body`: JSON text of a snapshot. */
  async putSnapshot(generation: SnapshotGeneration, body: string): Promise<Attempt<PublishResult>> {
    return attempt(await this.#client.putSnapshot(this.#cluster, generation, await compress(body), this.#node));
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  readonly #send: Send = async ({ method, url, headers, body }) => {
    const answer = await request(url, { method, headers, body, dispatcher: this.#agent });
    const header = (name: string) => {
      const value = answer.headers[name];
      return Array.isArray(value) ? value[0] : value;
    };
    return { status: answer.statusCode, header, text: await answer.body.text() };
  };
}

const attempt = <T>(answer: Answer<T>): Attempt<T> =>
  answer.ok ? { outcome: { kind: "accepted" }, value: answer.value } : { outcome: outcomeOf(answer) };

export function outcomeOf({ status, reason, why, afterMs }: Omit<Failure, "ok" | "asked">): PublishOutcome {
  if (status === 401 || status === 403) return { kind: "unauthorised", why };
  if (status === 409 && reason === "superseded") return { kind: "superseded" };
  if (status === undefined || status >= 500 || status === 429 || status === 408)
    return { kind: "unreachable", why, ...(afterMs === undefined ? {} : { afterMs }) };
  if (status >= 300 && status < 400) return { kind: "refused", why: `${why}. Give --edge the final URL` };
  return { kind: "refused", why };
}
