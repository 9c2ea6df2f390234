// One row of the table: bytes from a client, what the server behind does, and what must come of it. The same bytes go to
// that server straight, and through each way that Postern has; expectations compare the two.
import { setTimeout as delay } from "node:timers/promises";
import { isIdempotentMethod } from "../../src/shared/http/repeat.ts";
import type { Backend, Behaviour, Seen } from "./backend.ts";
import type { Door } from "./programs.ts";
import { type Answer, type End, type Field, valuesOf, Wire } from "./wire.ts";

/** `npm start` and `npm run edge`, each by its two transports. */
export const modes = ["start/tunnel", "start/direct", "edge/tunnel", "edge/direct"] as const;
export type Mode = (typeof modes)[number];

export interface Row {
  readonly name: string;
  /**
   * What the client sends, as Latin-1; several: one after the other, a moment between them. {H} stands for host:port, {R} for
   * the header line X-Row, which tells the server whose request it is.
   */
  readonly request: string | readonly string[];
  /** The client sends FIN after it. */
  readonly half?: boolean;
  /** Methods of the requests in it; absent: the first word. As many answers are awaited. */
  readonly methods?: readonly string[];
  /** Instead of sending `request` at once. */
  readonly script?: (wire: Wire, send: (text: string) => void) => Promise<void>;
  /** Absent: 200 and "ok". */
  readonly backend?: Behaviour;
  readonly expect: Expectation;
  /** Where a way of its own kind cannot do it: what must come there instead, and why it must be so. */
  readonly except?: { readonly [mode in Mode | "direct"]?: { readonly because: string; readonly expect: Expectation } };
  readonly withinMs?: number;
}

/** What came of a row in one way. */
export interface Outcome {
  readonly answers: readonly Answer[];
  readonly interim: readonly number[];
  /** How the connection stood at the end; "open" where it was not waited for. */
  readonly end: End;
  readonly extra: string;
  readonly seen: readonly Seen[];
  readonly ms: number;
  readonly authority: string;
  /** Set where our answer is judged. */
  readonly mode?: Mode;
}

/** What is wrong with `ours`, in words; undefined: nothing. */
export type Judge = (ours: Outcome, plain: Outcome) => string | undefined;
export interface Expectation {
  readonly judge: Judge;
  /** The end of the connection is awaited. */
  readonly closes?: boolean;
  /** Judged without the plain server's answer, which may not come: it does not mind what must be refused. */
  readonly alone?: boolean;
}

/** What stands for the plain answer where nobody needs it. */
export const notAsked: Outcome = { answers: [], interim: [], end: "open", extra: "", seen: [], ms: 0, authority: "" };

export function rowId(index: number, mode: string): string {
  return `${index}.${mode.replace("/", "-")}`;
}

export async function play(
  row: Row,
  index: number,
  way: Mode | "plain",
  door: Door,
  backend: Backend,
  closes: boolean,
): Promise<Outcome> {
  const id = rowId(index, way);
  const fill = (text: string) => text.replaceAll("{H}", door.authority).replaceAll("{R}", `X-Row: ${id}`);
  const pieces = typeof row.request === "string" ? [row.request] : row.request;
  const methods = row.methods ?? [(pieces[0] ?? "").split(" ")[0] ?? "GET"];
  const started = performance.now();
  using wire = await Wire.connect(door);
  if (row.script === undefined) {
    for (const [i, piece] of pieces.entries()) {
      if (i > 0) await delay(30);
      wire.send(fill(piece), ...(i === 0 ? methods : []));
    }
    if (row.half) wire.half();
  } else await row.script(wire, (text) => wire.send(fill(text), ...methods));
  const answers: Answer[] = [];
  const [withinMs, closesWithinMs] = [row.withinMs ?? 12_000, way === "plain" ? 300 : 2_000];
  for (const _ of methods) {
    const answer = await wire.answer(withinMs);
    if (answer === undefined) break;
    answers.push(answer);
    if (!answer.whole) break;
  }
  const end = closes ? await wire.ended(closesWithinMs) : wire.end;
  return {
    answers,
    interim: wire.interim,
    end,
    extra: wire.extra.toString("latin1"),
    seen: backend.seen(id),
    ms: performance.now() - started,
    authority: door.authority,
  };
}

// ---- Expectations ----------------------------------------------------------------------------------------------------

/** What a hop may add, drop or write anew (RFC 9110 §7.6.1, 9112): not compared. */
const hops = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "expect",
];
const ofAnswers = new Set([...hops, "content-length", "date", "via"]);
const ofRequests = new Set([
  ...hops,
  ...["host", "content-length", "x-row", "via", "cdn-loop", "forwarded", "x-real-ip", "max-forwards"],
  ...["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"],
  // Each WebSocket hop has a key of its own.
  ...["sec-websocket-key", "sec-websocket-accept", "sec-websocket-version", "sec-websocket-extensions"],
]);

/** Values by lower-case name; lines of one name are one list (RFC 9110 §5.3), but for Set-Cookie. */
function listed(fields: readonly Field[], left: ReadonlySet<string>): Map<string, string> {
  const all = new Map<string, string>();
  for (const [name, value] of fields) {
    const key = name.toLowerCase();
    if (left.has(key)) continue;
    const before = all.get(key);
    const glue = key === "set-cookie" ? "\n" : key === "cookie" ? "; " : ", ";
    all.set(key, before === undefined ? value : `${before}${glue}${value}`);
  }
  return all;
}

function difference(ours: ReadonlyMap<string, string>, plain: ReadonlyMap<string, string>): string | undefined {
  for (const [name, value] of plain) {
    const got = ours.get(name);
    if (got === undefined) return `${name} is missing`;
    if (got !== value) return `${name} is ${brief(got)} and not ${brief(value)}`;
  }
  for (const [name, value] of ours) if (!plain.has(name)) return `${name}: ${brief(value)} was added`;
  return undefined;
}

/** Printable, and short enough for a message. */
export function brief(text: string): string {
  const shown = JSON.stringify(text.length > 120 ? `${text.slice(0, 90)}…(${text.length})` : text);
  return shown.replaceAll(/[\x7f-\xff]/g, (c) => `\\x${c.charCodeAt(0).toString(16)}`);
}

/** The answer's first header of that name. */
export const field = (answer: Answer | undefined, name: string): string | undefined =>
  valuesOf(answer?.fields ?? [], name)[0];
const reasonOf = (answer: Answer | undefined) => field(answer, "x-postern-reason");

function answersDiffer(ours: Outcome, plain: Outcome): string | undefined {
  for (const [i, expected] of plain.answers.entries()) {
    const got = ours.answers[i];
    const which = plain.answers.length > 1 ? `answer ${i + 1}: ` : "";
    if (got === undefined) return `${which}none came (connection: ${ours.end})`;
    if (got.status !== expected.status)
      return `${which}status ${got.status}${reasonOf(got) ? ` ${reasonOf(got)}` : ""} and not ${expected.status}`;
    if (got.whole !== expected.whole) return `${which}the answer is ${got.whole ? "" : "not "}whole`;
    if (got.bodyBytes !== expected.bodyBytes || !got.body.equals(expected.body))
      return `${which}body of ${got.bodyBytes} bytes ${brief(got.body.toString("latin1"))} and not of ${expected.bodyBytes} ${brief(expected.body.toString("latin1"))}`;
    const headers = difference(listed(got.fields, ofAnswers), listed(expected.fields, ofAnswers));
    if (headers !== undefined) return `${which}header ${headers}`;
    // Where there is no body it is what the client asked for.
    if (expected.framing === "none" && expected.status !== 204 && expected.status !== 304) {
      const [length, real] = [field(got, "content-length"), field(expected, "content-length")];
      if (real !== undefined && length !== real) return `${which}content-length is ${length} and not ${real}`;
    }
  }
  return undefined;
}

function seenDiffers(ours: Outcome, plain: Outcome): string | undefined {
  const seen = withoutRepeat(ours.seen, plain.seen.length);
  if (seen.length !== plain.seen.length)
    return `the server saw ${ours.seen.length} requests and not ${plain.seen.length}`;
  for (const [i, expected] of plain.seen.entries()) {
    const got = seen[i] as Seen;
    const target = expected.target.replace(/^https?:\/\/[^/]+/i, "");
    if (got.method !== expected.method || got.target !== target)
      return `the server saw ${brief(`${got.method} ${got.target}`)} and not ${brief(`${expected.method} ${target}`)}`;
    if (got.whole !== expected.whole || got.bodyBytes !== expected.bodyBytes || !got.body.equals(expected.body))
      return `the server saw a body of ${got.bodyBytes} bytes (${got.framing}${got.whole ? "" : ", cut"}) and not of ${expected.bodyBytes}`;
    const headers = difference(without(listed(got.fields, ofRequests), ours.mode), listed(expected.fields, ofRequests));
    if (headers !== undefined) return `the server saw: header ${headers}`;
  }
  return undefined;
}

/**
 * On a busy machine a node may be silent for a second, and then an idempotent request is sent to another as well: that is
 * within the rules, and here the last of the two that is whole stands for both.
 */
function withoutRepeat(seen: readonly Seen[], expected: number): readonly Seen[] {
  const [first] = seen;
  if (expected !== 1 || seen.length !== 2 || first === undefined || !isIdempotentMethod(first.method)) return seen;
  return [seen.findLast(({ whole }) => whole) ?? first];
}

/** wrangler's own runtime, which npm start uses, names itself to whomever its fetch() asks. */
function without(fields: Map<string, string>, mode: Mode | undefined): Map<string, string> {
  if (mode === "start/direct") fields.delete("cf-worker");
  return fields;
}

/** The client gets what the server sent, and the server sees what the client sent. */
export const same: Expectation = { judge: (ours, plain) => answersDiffer(ours, plain) ?? seenDiffers(ours, plain) };
export const sameAnswer: Expectation = { judge: answersDiffer };
export const sameSeen: Expectation = { judge: seenDiffers };

/** An answer of ours with one of these statuses, and no server saw a whole request. */
export function refused(...statuses: number[]): Expectation {
  return {
    closes: true,
    alone: true,
    judge: ({ answers: [answer], seen, end }) => {
      if (answer === undefined) return `no answer (connection: ${end})`;
      if (!statuses.includes(answer.status)) return `status ${answer.status} and not ${statuses.join(" or ")}`;
      if (seen.some(({ whole }) => whole)) return "a server saw the request";
      return end === "open" ? "the connection was not closed" : undefined;
    },
  };
}

/** The same, with the product's own words: X-Postern-Reason. The connection may go on. */
export function told(...statuses: number[]): Expectation {
  return {
    alone: true,
    judge: ({ answers: [answer], end }) => {
      if (answer === undefined) return `no answer (connection: ${end})`;
      if (!statuses.includes(answer.status))
        return `status ${answer.status} ${reasonOf(answer) ?? ""} and not ${statuses.join(" or ")}`;
      return reasonOf(answer) === undefined ? `a bare ${answer.status} without a reason` : undefined;
    },
  };
}

/** A broken connection or our own 502: never an answer that looks whole. */
export const broken: Expectation = {
  alone: true,
  judge: ({ answers: [answer], end }) => {
    if (answer === undefined) return end === "open" ? "neither an answer nor an end of the connection" : undefined;
    if (answer.status === 502 && answer.whole)
      return reasonOf(answer) === undefined ? "a bare 502 without a reason" : undefined;
    if (answer.whole) return `a whole ${answer.status} of ${answer.bodyBytes} bytes`;
    return end === "open" ? "the connection was left open" : undefined;
  },
  closes: true,
};

/** Any of them; the problems of all are told. */
export function either(...expectations: readonly Expectation[]): Expectation {
  return {
    closes: expectations.some(({ closes }) => closes === true),
    alone: expectations.every(({ alone }) => alone === true),
    judge: (ours, plain) => {
      const problems = expectations.map(({ judge }) => judge(ours, plain));
      return problems.includes(undefined) ? undefined : problems.join("; or: ");
    },
  };
}

export const both = (...expectations: readonly Expectation[]): Expectation => ({
  closes: expectations.some(({ closes }) => closes === true),
  alone: expectations.every(({ alone }) => alone === true),
  judge: (ours, plain) => {
    for (const { judge } of expectations) {
      const problem = judge(ours, plain);
      if (problem !== undefined) return problem;
    }
    return undefined;
  },
});

/** As it came, or one of these statuses in the product's words; never another meaning. */
export const sameOr = (...statuses: number[]): Expectation => either(same, told(...statuses));

export function check(name: string, judge: Judge, closes = false): Expectation {
  return { judge: (...args) => (judge(...args) === undefined ? undefined : `${name}: ${judge(...args)}`), closes };
}

/** One line that says what came, for messages. */
export function described({ answers, end, seen, interim }: Outcome): string {
  const came = answers.map(
    ({ status, bodyBytes, whole, body, fields }) =>
      `${status}${reasonOf({ fields } as Answer) ? ` (${reasonOf({ fields } as Answer)})` : ""} ${bodyBytes} bytes${whole ? "" : ", cut"} ${brief(body.toString("latin1", 0, 60))}`,
  );
  const saw = seen.map(
    ({ method, target, bodyBytes, whole }) => `${method} ${brief(target)} ${bodyBytes} bytes${whole ? "" : ", cut"}`,
  );
  return `${interim.length > 0 ? `${interim.join()} then ` : ""}${came.join(" | ") || "nothing"}, connection ${end}; server saw: ${saw.join(" | ") || "nothing"}`;
}

/** Judges one way; undefined: as it must be. */
export function verdict(row: Row, mode: Mode, ours: Outcome, plain: Outcome): string | undefined {
  const problem = expectationOf(row, mode).judge({ ...ours, mode }, plain);
  return problem === undefined
    ? undefined
    : `${mode}: ${problem}\n      plain: ${described(plain)}\n      ours:  ${described(ours)}`;
}

export function expectationOf(row: Row, mode: Mode): Expectation {
  const transport = mode.endsWith("direct") ? ("direct" as const) : undefined;
  return (row.except?.[mode] ?? (transport && row.except?.[transport]))?.expect ?? row.expect;
}
