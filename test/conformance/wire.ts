// HTTP/1.1 as bytes on a socket, from both sides: what a client sends is sent as it stands, and what comes back is read by the
// framing of RFC 9112 alone. A client or server library would mend, refuse or hide just what these tests ask about.
// Text is Latin-1 everywhere here: one character for each byte.
import { connect as tcpConnect, type Socket } from "node:net";
import { Changes } from "./changes.ts";

export type Field = readonly [name: string, value: string];

export interface Head {
  /** The start line. */
  readonly line: string;
  readonly fields: readonly Field[];
}

export type Framing =
  | { readonly kind: "none" | "chunked" | "close" }
  | { readonly kind: "length"; readonly bytes: number };

/** Kept of a body; the rest of a larger one is counted only. */
const BODY_KEPT = 2 * 1024 * 1024;

export function valuesOf(fields: readonly Field[], name: string): string[] {
  return fields.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value);
}

/** Reads one stream of messages piece by piece: heads, then bodies as the caller says how they are framed. */
export class Reader {
  #held: Buffer = Buffer.alloc(0);
  #framing: Framing = { kind: "none" };
  /** Of the body or chunk that is being read. */
  #left = 0;
  #step: "head" | "body" | "size" | "data" | "crlf" | "trailer" = "head";
  readonly #onHead: (head: Head) => Framing;
  readonly #onWhole: () => void;
  body: Buffer = Buffer.alloc(0);
  bodyBytes = 0;
  #kept: Buffer[] = [];
  trailers: Field[] = [];
  /** What made the rest unreadable. */
  fault: string | undefined;

  /** `onHead` says how the body is framed; `onWhole` comes when it is complete, before the next head. */
  constructor(onHead: (head: Head) => Framing, onWhole: () => void) {
    this.#onHead = onHead;
    this.#onWhole = onWhole;
  }

  /** Bytes that no message has taken yet. */
  get rest(): Buffer {
    return this.#held;
  }

  get isBetween(): boolean {
    return this.#step === "head" && this.#held.length === 0;
  }

  push(bytes: Buffer): void {
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    while (this.fault === undefined && this.#advance());
  }

  /** The other side has ended: a body that lasts until then is whole. */
  end(): void {
    if (this.#step === "body" && this.#framing.kind === "close") this.#whole();
  }

  #advance(): boolean {
    switch (this.#step) {
      case "head": {
        const text = this.#upTo("\r\n\r\n");
        if (text === undefined) return false;
        this.#begin(parseHead(text));
        return true;
      }
      case "body":
      case "data": {
        if (this.#held.length === 0) return false;
        const part = this.#held.subarray(0, Math.min(this.#left, this.#held.length));
        this.#held = this.#held.subarray(part.length);
        this.#left -= part.length;
        this.#keep(part);
        if (this.#left > 0) return false;
        if (this.#step === "body") this.#whole();
        else this.#step = "crlf";
        return true;
      }
      case "size": {
        const line = this.#upTo("\r\n");
        if (line === undefined) return false;
        const size = /^([0-9a-fA-F]+)[ \t]*(;.*)?$/.exec(line)?.[1];
        if (size === undefined) {
          this.fault = `no chunk size: ${JSON.stringify(line.slice(0, 40))}`;
          return false;
        }
        this.#left = Number.parseInt(size, 16);
        this.#step = this.#left === 0 ? "trailer" : "data";
        return true;
      }
      case "crlf": {
        if (this.#upTo("\r\n") === undefined) return false;
        this.#step = "size";
        return true;
      }
      case "trailer": {
        const line = this.#upTo("\r\n");
        if (line === undefined) return false;
        if (line === "") this.#whole();
        else this.trailers.push(parseField(line));
        return true;
      }
      default:
        return false;
    }
  }

  #begin(head: Head): void {
    this.body = Buffer.alloc(0);
    this.bodyBytes = 0;
    this.#kept = [];
    this.trailers = [];
    this.#framing = this.#onHead(head);
    const framing = this.#framing;
    this.#left = framing.kind === "length" ? framing.bytes : Number.POSITIVE_INFINITY;
    if (framing.kind === "none" || this.#left === 0) this.#whole();
    else this.#step = framing.kind === "chunked" ? "size" : "body";
  }

  #keep(part: Buffer): void {
    this.bodyBytes += part.length;
    if (this.bodyBytes <= BODY_KEPT) this.#kept.push(part);
  }

  /** Of a body that may not be whole yet. */
  soFar(): Buffer {
    return Buffer.concat(this.#kept);
  }

  #whole(): void {
    this.body = this.soFar();
    this.#step = "head";
    this.#onWhole();
  }

  #upTo(mark: string): string | undefined {
    const at = this.#held.indexOf(mark);
    if (at < 0) return undefined;
    const text = this.#held.toString("latin1", 0, at);
    this.#held = this.#held.subarray(at + mark.length);
    return text;
  }
}

function parseHead(text: string): Head {
  // A line break before the start line is to be passed over (RFC 9112 §2.2).
  const [line = "", ...lines] = text.replace(/^(\r\n)+/, "").split("\r\n");
  return { line, fields: lines.map(parseField) };
}

function parseField(line: string): Field {
  const at = line.indexOf(":");
  return at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1).replace(/^[ \t]+|[ \t]+$/g, "")];
}

/** RFC 9112 §6.3, for an answer to `method`. */
function answerFraming(method: string, status: number, fields: readonly Field[]): Framing {
  if (method === "HEAD" || status === 204 || status === 304 || status < 200) return { kind: "none" };
  if (valuesOf(fields, "transfer-encoding").some((value) => /chunked\s*$/i.test(value))) return { kind: "chunked" };
  const [length] = valuesOf(fields, "content-length");
  return length === undefined ? { kind: "close" } : { kind: "length", bytes: Number(length) };
}

export interface Answer {
  readonly status: number;
  readonly phrase: string;
  readonly fields: readonly Field[];
  readonly body: Buffer;
  readonly bodyBytes: number;
  readonly trailers: readonly Field[];
  readonly framing: Framing["kind"];
  /** All that its framing promises has come. */
  readonly whole: boolean;
}

export type End = "closed" | "reset" | "open";

export interface Place {
  readonly host: string;
  readonly port: number;
  /** The client's own. */
  readonly localAddress?: string;
}

/** A client's connection. Dispose of it: it ends with a reset where it is still open. */
export class Wire implements Disposable {
  readonly socket: Socket;
  /** Statuses of 1xx that came. */
  readonly interim: number[] = [];
  /** All bytes that came. */
  received = 0;
  /** "open" until the other side ended it. */
  end: End = "open";
  #closed = false;
  readonly #methods: string[] = [];
  readonly #answers: Answer[] = [];
  #current: Head | undefined;
  #framing: Framing = { kind: "none" };
  readonly #reader: Reader;
  readonly #changes = new Changes();

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    this.#reader = new Reader(
      (head) => {
        const status = statusOf(head);
        // After a 101 the connection is no longer HTTP's.
        if (status < 200 && status !== 101) {
          this.interim.push(status);
          this.#current = undefined;
          return { kind: "none" };
        }
        this.#current = head;
        this.#framing =
          status === 101 ? { kind: "close" } : answerFraming(this.#methods.shift() ?? "GET", status, head.fields);
        return this.#framing;
      },
      () => {
        if (this.#current === undefined) return;
        this.#answers.push(this.#answer(true));
        this.#current = undefined;
      },
    );
    socket.on("data", (bytes) => {
      this.received += bytes.length;
      this.#reader.push(bytes);
      this.#wake();
    });
    socket.on("end", () => {
      this.end = "closed";
      this.#reader.end();
      this.#wake();
    });
    socket.on("error", () => (this.end = "reset"));
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  static async connect(to: Place): Promise<Wire> {
    const { promise, resolve, reject } = Promise.withResolvers<Wire>();
    const socket = tcpConnect({ ...to, allowHalfOpen: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(new Wire(socket));
    });
    return promise;
  }

  /** `methods`: of the requests in these bytes, which say whether an answer has a body; GET where it does not matter. */
  send(bytes: string | Buffer, ...methods: string[]): void {
    this.#methods.push(...methods);
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** FIN: no more will be sent, answers are still read. */
  half(): void {
    this.socket.end();
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  /** The next final answer, whole or as much as came until the connection ended or time was up; undefined: not even a head. */
  async answer(withinMs = 10_000): Promise<Answer | undefined> {
    // A 101 has no end of its own.
    const there = () => this.#answers.length > 0 || (this.#current !== undefined && statusOf(this.#current) === 101);
    await this.#changes.until(() => there() || this.end !== "open" || this.#closed, withinMs);
    return this.#answers.shift() ?? (this.#current === undefined ? undefined : this.#answer(false));
  }

  /** Its head has come, and `bytes` of its body. */
  async head(bytes = 0, withinMs = 10_000): Promise<Answer | undefined> {
    const there = () => this.#answers[0] ?? (this.#current === undefined ? undefined : this.#answer(false));
    await this.#changes.until(() => {
      const answer = there();
      return (
        (answer !== undefined && (answer.whole || answer.bodyBytes >= bytes)) || this.end !== "open" || this.#closed
      );
    }, withinMs);
    return there();
  }

  /** How the other side ended the connection; "open": it did not, within that time. */
  async ended(withinMs: number): Promise<End> {
    await this.#changes.until(() => this.end !== "open" || this.#closed, withinMs);
    return this.end;
  }

  /** Bytes after the last whole answer, such as those of an upgraded connection. */
  get extra(): Buffer {
    return this.#current === undefined ? this.#reader.rest : this.#reader.soFar();
  }

  async until(met: () => boolean, withinMs = 10_000): Promise<boolean> {
    return this.#changes.until(met, withinMs);
  }

  [Symbol.dispose](): void {
    if (!this.socket.destroyed) this.socket.resetAndDestroy();
  }

  #answer(whole: boolean): Answer {
    const { line, fields } = this.#current as Head;
    const body = whole ? this.#reader.body : this.#reader.soFar();
    return {
      status: statusOf({ line, fields }),
      phrase: line.split(" ").slice(2).join(" "),
      fields,
      body,
      bodyBytes: this.#reader.bodyBytes,
      trailers: [...this.#reader.trailers],
      framing: this.#framing.kind,
      whole,
    };
  }

  #wake(): void {
    this.#changes.tell();
  }
}

function statusOf({ line }: Head): number {
  return Number(/^HTTP\/1\.[01] (\d{3})\b/.exec(line)?.[1] ?? 0);
}

/** Bytes of a text in UTF-8, as Latin-1. */
export const utf8 = (text: string): string => Buffer.from(text, "utf8").toString("latin1");
