// The one client of the control API: it builds URLs, carries the token, reads answers, and makes one sentence of what went wrong.
// The exchange itself is its user's to give: how long it may take, how much it may bring, how certificates are checked.
// Never throws for what an edge, or whatever else is there, may answer: each call is one try and ends as an Answer.
// The token is read anew for each call, stands in the Authorization header, and in no URL, error or log.
import { z } from "zod";
import type { PublishResult, SnapshotGeneration } from "../model/snapshot.ts";
import { publishResultSchema } from "../model/snapshot.ts";
import { parseJson, reasonOf } from "../net/reply.ts";
import {
  clusterAnswerSchema,
  clustersSchema,
  conditionsSchema,
  createdClusterSchema,
  directoryEntrySchema,
  epochSchema,
  installCodeSchema,
  nodesSchema,
  tableSchema,
  tokenSchema,
  tokensSchema,
  versionSchema,
} from "./answers.ts";
import { type LogFilter, type LogLine, logLineSchema } from "./access-log.ts";
import { type ProbeInput, probeAnswerSchema } from "./probe.ts";
import { problemSentence, readProblem } from "./problem.ts";
import {
  type CreateCluster,
  formatGeneration,
  GENERATION_HEADER,
  type InstallCodeOptions,
  PUBLISHER_HEADER,
  type SetMembers,
} from "./requests.ts";

/** Most bytes of an answer: the results of 10,000 Services fit. For whoever writes a Send. */
export const ANSWER_MAX_BYTES = 32 * 1024 * 1024;

export interface Outgoing {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array<ArrayBuffer> | null;
  /** After so long, ms, its user has no more use for an answer; absent: as whoever sends it sees fit. */
  readonly withinMs?: number;
  /** Of an answer that has no end by itself; a Send that cannot do it may say so by rejecting. */
  readonly stream?: Streaming;
}

/** `withinMs` is then the time until the head; a body of status 200 is handed over as it comes, however long, and `text` is empty. */
export interface Streaming {
  readonly onText: (text: string) => void;
  /** Ends it: the exchange rejects. */
  readonly signal: AbortSignal;
}

export interface Incoming {
  readonly status: number;
  /** By its name in lower case; undefined where there is none. */
  readonly header: (name: string) => string | undefined;
  readonly text: string;
}

/**
 * One HTTP exchange; rejects where none came about. Must verify certificates, must not follow redirects (the token would travel
 * on), and must bound the answer's size and time.
 */
export type Send = (request: Outgoing) => Promise<Incoming>;

export interface Failure {
  readonly ok: false;
  /** "POST /api/v1/clusters" */
  readonly asked: string;
  /** What went wrong, and what to do about it where the edge says so. */
  readonly why: string;
  /** Absent: nothing answered, or something that is no edge. */
  readonly status?: number;
  /** The problem's. */
  readonly reason?: string;
  /** The pause that the edge asks for. */
  readonly afterMs?: number;
}

export type Answer<T> = { readonly ok: true; readonly value: T } | Failure;

/** For those to whom every failure is one. */
export function orThrow<T>(answer: Answer<T>): T {
  if (!answer.ok) throw new Error(`${answer.asked}: ${answer.why}`);
  return answer.value;
}

export interface ControlTarget {
  /** Of the admin host; its path, if any, comes before /api. */
  readonly edge: URL;
  /** The admin's, or a cluster's. */
  readonly token: () => string;
  /** See Outgoing. */
  readonly withinMs?: number;
}

type More = Partial<Pick<Outgoing, "headers" | "body" | "stream">> & {
  readonly query?: Readonly<Record<string, string>>;
};

/** Of an answer without a body. */
const nothingSchema = z.unknown();

export class ControlClient {
  readonly #target: ControlTarget;
  readonly #send: Send;

  constructor(target: ControlTarget, send: Send) {
    this.#target = target;
    this.#send = send;
  }

  async createCluster(input: CreateCluster): Promise<Answer<z.infer<typeof createdClusterSchema>>> {
    return await this.#call(createdClusterSchema, "POST", ["clusters"], json(input));
  }

  async clusters(): Promise<Answer<z.infer<typeof clustersSchema>>> {
    return await this.#call(clustersSchema, "GET", ["clusters"]);
  }

  async cluster(cluster: string): Promise<Answer<z.infer<typeof clusterAnswerSchema>>> {
    return await this.#call(clusterAnswerSchema, "GET", ["clusters", cluster]);
  }

  /** With its tokens, sockets, hostnames and state. */
  async deleteCluster(cluster: string): Promise<Answer<unknown>> {
    return await this.#call(nothingSchema, "DELETE", ["clusters", cluster]);
  }

  async tokens(cluster: string): Promise<Answer<z.infer<typeof tokensSchema>>> {
    return await this.#call(tokensSchema, "GET", ["clusters", cluster, "tokens"]);
  }

  /** `token`: its id; absent: the one that asks. */
  async rotateToken(cluster: string, token?: string): Promise<Answer<z.infer<typeof tokenSchema>>> {
    const query = token === undefined ? {} : { query: { token } };
    return await this.#call(tokenSchema, "POST", ["clusters", cluster, "token"], query);
  }

  /** `token`: its id. */
  async revokeToken(cluster: string, token: string): Promise<Answer<unknown>> {
    return await this.#call(nothingSchema, "DELETE", ["clusters", cluster, "tokens", token]);
  }

  async createInstallCode(
    cluster: string,
    input: InstallCodeOptions = {},
  ): Promise<Answer<z.infer<typeof installCodeSchema>>> {
    return await this.#call(installCodeSchema, "POST", ["clusters", cluster, "install-code"], json(input));
  }

  /** Undefined where the edge still has the table of this generation. */
  async table(cluster: string, known?: number): Promise<Answer<z.infer<typeof tableSchema> | undefined>> {
    const headers = known === undefined ? {} : { "if-none-match": `"${known}"` };
    const answer = await this.#call(tableSchema, "GET", ["clusters", cluster, "table"], { headers });
    return !answer.ok && answer.status === 304 && known !== undefined ? { ok: true, value: undefined } : answer;
  }

  async nodes(cluster: string): Promise<Answer<z.infer<typeof nodesSchema>>> {
    return await this.#call(nodesSchema, "GET", ["clusters", cluster, "nodes"]);
  }

  async conditions(cluster: string): Promise<Answer<z.infer<typeof conditionsSchema>>> {
    return await this.#call(conditionsSchema, "GET", ["clusters", cluster, "conditions"]);
  }

  /** Asks every node of the cluster through its tunnel, which takes PROBE_MS where one is silent. The owner's, or the admin's. */
  async probe(cluster: string, input: ProbeInput = {}): Promise<Answer<z.infer<typeof probeAnswerSchema>>> {
    return await this.#call(probeAnswerSchema, "POST", ["clusters", cluster, "probe"], json(input));
  }

  /**
   * The access log, a line at a time, until `signal` ends it, the edge goes, or the connection breaks: only the edge's own end is no
   * failure. The owner's, or the admin's.
   */
  async logs(
    cluster: string,
    filter: LogFilter,
    onLine: (line: LogLine) => void,
    signal: AbortSignal,
  ): Promise<Answer<unknown>> {
    const query = Object.fromEntries(
      Object.entries(filter).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    );
    let rest = "";
    const onText = (text: string): void => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        // A kind that a newer edge has is left out.
        const { data } = logLineSchema.safeParse(parseJson(line));
        if (data !== undefined) onLine(data);
      }
    };
    return await this.#call(nothingSchema, "GET", ["clusters", cluster, "logs"], { query, stream: { onText, signal } });
  }

  async hostname(hostname: string): Promise<Answer<z.infer<typeof directoryEntrySchema>>> {
    return await this.#call(directoryEntrySchema, "GET", ["hostnames", hostname]);
  }

  async setMembers(hostname: string, input: SetMembers): Promise<Answer<z.infer<typeof directoryEntrySchema>>> {
    return await this.#call(directoryEntrySchema, "PUT", ["hostnames", hostname], json(input));
  }

  async version(): Promise<Answer<z.infer<typeof versionSchema>>> {
    return await this.#call(versionSchema, "GET", ["version"]);
  }

  async claimEpoch(cluster: string): Promise<Answer<z.infer<typeof epochSchema>>> {
    return await this.#call(epochSchema, "POST", ["clusters", cluster, "epoch"]);
  }

  /** `body`: JSON text of a snapshot, as gzip. `node`: whose agent publishes it. */
  async putSnapshot(
    cluster: string,
    generation: SnapshotGeneration,
    body: Uint8Array<ArrayBuffer>,
    node?: string,
  ): Promise<Answer<PublishResult>> {
    const headers = {
      "content-type": "application/json",
      "content-encoding": "gzip",
      [GENERATION_HEADER]: formatGeneration(generation),
      ...(node === undefined ? {} : { [PUBLISHER_HEADER]: node }),
    };
    return await this.#call(publishResultSchema, "PUT", ["clusters", cluster, "snapshot"], { headers, body });
  }

  /** `path`: below /api/v1, a name each. */
  async #call<T>(
    schema: z.ZodType<T>,
    method: Outgoing["method"],
    path: readonly string[],
    { headers = {}, body = null, query = {}, stream }: More = {},
  ): Promise<Answer<T>> {
    const { edge, token, withinMs } = this.#target;
    const base = edge.href.endsWith("/") ? edge.href : `${edge.href}/`;
    const url = new URL(["api", "v1", ...path.map(encodeURIComponent)].join("/"), base);
    url.search = new URLSearchParams(query).toString();
    const asked = `${method} ${url.pathname}`;
    let secret = "";
    // An error may quote what it was given, and an answer what it was sent.
    const failed = (why: string, more: Pick<Failure, "status" | "reason" | "afterMs"> = {}): Failure => ({
      ok: false,
      asked,
      why: secret === "" ? why : why.replaceAll(secret, "<token>"),
      ...more,
    });
    let answer: Incoming;
    try {
      secret = token();
      const authorised = { ...headers, authorization: `Bearer ${secret}`, accept: "application/json" };
      const within = withinMs === undefined ? {} : { withinMs };
      const streaming = stream === undefined ? {} : { stream };
      answer = await this.#send({ method, url, headers: authorised, body, ...within, ...streaming });
    } catch (error) {
      return failed(`${edge.host} cannot be reached: ${reasonOf(error)}`);
    }
    const { status, header, text } = answer;
    if (status >= 300 && status < 400) return failed(`HTTP ${status}: a redirect`, { status });
    const said = parseJson(text);
    if (status < 200 || status >= 300) {
      const problem = readProblem(said);
      const seconds = Number(header("retry-after"));
      return failed(problemSentence(status, problem), {
        status,
        ...(problem.reason === undefined ? {} : { reason: problem.reason }),
        ...(seconds > 0 ? { afterMs: seconds * 1000 } : {}),
      });
    }
    const parsed = schema.safeParse(said);
    if (parsed.success) return { ok: true, value: parsed.data };
    return failed(`${edge.host} answered, but not as a Postern edge does`);
  }
}

const json = (input: object): More => ({
  headers: { "content-type": "application/json" },
  body: JSON.stringify(input),
});
