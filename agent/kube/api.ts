// One client of the API server for everything: reads, watches, patches. Owns the connections; certificates are always
// verified, tokens and authorities read anew where they are used. Of several API servers it asks one until that cannot be reached,
// then the next. Never throws for what an API server may answer: every
// call ends as an Answer. Retries nothing but expired credentials: when to try again is its callers' decision.
import { Agent, buildConnector, type Dispatcher, request } from "undici";
import { parseJson, reasonOf } from "../../src/shared/net/reply.ts";
import type { Access } from "./access.ts";

export type Answer =
  /** `body`: parsed JSON; undefined where it was none. */
  | { readonly kind: "ok"; readonly body: unknown }
  /** Refused with this HTTP status. `reason` is Kubernetes' own ("NotFound", "Conflict", "Expired"). */
  | {
      readonly kind: "status";
      readonly status: number;
      readonly reason: string;
      readonly message: string;
      readonly afterMs: number;
    }
  /** `tooLarge`: it answered, but more than is read. Who asked for a list may ask for less of it. */
  | { readonly kind: "unreachable"; readonly why: string; readonly tooLarge?: true };
export type Refused = Exclude<Answer, { kind: "ok" }>;

export interface Call {
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

export const STRATEGIC_MERGE = "application/strategic-merge-patch+json";
/** A page of 500 Services with all their fields is far below; one of slices with 1000 endpoints each is not. */
const ANSWER_MAX_BYTES = 64 * 1024 * 1024;
const CONNECT_MS = 10_000;
const ANSWER_MS = 30_000;
/** A dead peer is noticed by TCP after this and ten probes of a second each. */
const KEEP_ALIVE_MS = 15_000;
/** Watches included. */
const CONNECTIONS_MAX = 32;
const MESSAGE_MAX = 512;

export class KubeApi {
  readonly #access: Access;
  readonly #agent: Agent;
  /** Which of the servers is asked. */
  #at = 0;

  constructor(access: Access) {
    this.#access = access;
    this.#agent = new Agent({
      connect: (options, callback) => {
        try {
          const { ca, cert, key } = access.tls();
          const tls = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
          const keepAlive = { keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
          buildConnector({ ...tls, ...keepAlive, timeout: CONNECT_MS })(options, callback);
        } catch (error) {
          callback(error as Error, null);
        }
      },
      connections: CONNECTIONS_MAX,
      pipelining: 1,
      headersTimeout: ANSWER_MS,
      bodyTimeout: ANSWER_MS,
    });
  }

  get namespace(): string {
    return this.#access.namespace;
  }

  get installed(): boolean {
    return this.#access.installed;
  }

  async call(method: Dispatcher.HttpMethod, path: string, options: Call = {}): Promise<Answer> {
    return await this.#attempt(async () => {
      const { statusCode, headers, body } = await this.#send(method, path, options);
      const text = await readAll(body);
      if (statusCode >= 200 && statusCode < 300) return { kind: "ok", body: parseJson(text) };
      return refused(statusCode, text, headers["retry-after"]);
    });
  }

  /** The body of a watch, or why there is none. It ends by itself, by `signal`, or with an error while it is read. */
  async watch(
    path: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<{ readonly kind: "open"; readonly body: AsyncIterable<Buffer> } | Refused> {
    return await this.#attempt(async () => {
      const { statusCode, headers, body } = await this.#send("GET", path, { query, signal }, 0);
      if (statusCode === 200) return { kind: "open", body };
      return refused(statusCode, await readAll(body), headers["retry-after"]);
    });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** Once more where the credentials had expired: they are read for each request. */
  async #attempt<T extends { readonly kind: string }>(send: () => Promise<T | Refused>): Promise<T | Refused> {
    const at = this.#at;
    const { servers } = this.#access;
    try {
      const first = await send();
      return first.kind === "status" && "status" in first && first.status === 401 ? await send() : first;
    } catch (error) {
      if (error instanceof TooLarge) return { kind: "unreachable", why: error.message, tooLarge: true };
      // Who asks next, also this caller's next try, asks the next server. Of calls that failed together the first one turns.
      if (this.#at === at) this.#at = (at + 1) % servers.length;
      return { kind: "unreachable", why: `${servers[at]?.host}: ${reasonOf(error)}` };
    }
  }

  async #send(
    method: Dispatcher.HttpMethod,
    path: string,
    { query, body, contentType = "application/json", signal }: Call,
    bodyTimeout = ANSWER_MS,
  ): Promise<Dispatcher.ResponseData> {
    const url = new URL((this.#access.servers[this.#at]?.href ?? "").replace(/\/$/, "") + path);
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
    const token = this.#access.token();
    return await request(url, {
      method,
      headers: {
        accept: "application/json",
        "user-agent": "postern-agent",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": contentType }),
      },
      body: body === undefined ? null : JSON.stringify(body),
      bodyTimeout,
      dispatcher: this.#agent,
      ...(signal === undefined ? {} : { signal }),
    });
  }
}

class TooLarge extends Error {}

async function readAll(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > ANSWER_MAX_BYTES) throw new TooLarge(`an answer of more than ${ANSWER_MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function refused(status: number, text: string, retryAfter: string | string[] | undefined): Refused {
  const seconds = Number(retryAfter);
  return {
    kind: "status",
    status,
    ...statusOf(parseJson(text)),
    afterMs: seconds > 0 ? Math.min(seconds * 1000, ANSWER_MS) : 0,
  };
}

/** metav1.Status: what the API server says with a refusal, or in the middle of a watch. */
export function statusOf(body: unknown): { readonly reason: string; readonly message: string; readonly code: number } {
  const { reason, message, code } = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  return {
    reason: typeof reason === "string" ? reason : "",
    message: typeof message === "string" ? message.slice(0, MESSAGE_MAX) : "",
    code: typeof code === "number" ? code : 0,
  };
}

/** For logs and problems: "HTTP 403 Forbidden: services is forbidden: …" */
export function describe(answer: Refused): string {
  if (answer.kind === "unreachable") return `cannot be reached (${answer.why})`;
  return ["answers HTTP", answer.status, answer.reason, answer.message && `(${answer.message})`]
    .filter(Boolean)
    .join(" ");
}
