// The servers behind the Services: raw sockets that remember what they saw and answer as a row of a table wants. A request
// says by its header X-Row whose it is; one without is answered with 200. Owns its sockets; close() ends them.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { type Field, Reader, valuesOf } from "./wire.ts";
import { Changes } from "./changes.ts";

export interface Seen {
  readonly line: string;
  readonly method: string;
  readonly target: string;
  readonly fields: readonly Field[];
  /** Of what came so far; complete where `whole`. */
  body: Buffer;
  bodyBytes: number;
  sha256: string;
  trailers: readonly Field[];
  framing: "none" | "length" | "chunked" | "bad";
  whole: boolean;
  /** The connection on which it came has ended. */
  gone: boolean;
  readonly at: number;
}

export interface Behaviour {
  /** Answer as soon as the head is there; else when the body is whole. */
  readonly early?: boolean;
  answer(socket: Socket, seen: Seen, nth: number): void;
}

/** Headers, then the body; line breaks are CR LF on the wire. */
export function response(head: string, body: string | Buffer = ""): Buffer {
  return Buffer.concat([
    Buffer.from(`${head.replaceAll("\n", "\r\n")}\r\n\r\n`, "latin1"),
    typeof body === "string" ? Buffer.from(body, "latin1") : body,
  ]);
}

const plainOk: Behaviour = {
  answer: (socket, { method }) =>
    void socket.write(
      response("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 3", method === "HEAD" ? "" : "ok\n"),
    ),
};

export class Backend {
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #behaviours = new Map<string, Behaviour>();
  readonly #seen = new Map<string, Seen[]>();
  readonly #changes = new Changes();
  port = 0;
  /** What is done where the row has no behaviour of its own. */
  fallback: Behaviour = plainOk;

  async listen(addresses: readonly string[], port = 0): Promise<void> {
    for (const address of addresses) {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#serve(socket));
      server.listen(this.port || port, address);
      await once(server, "listening");
      this.port = (server.address() as AddressInfo).port;
      this.#servers.push(server);
    }
  }

  /** How requests with `X-Row: row` or `row.anything` are answered. */
  on(row: string, behaviour: Behaviour): void {
    this.#behaviours.set(row, behaviour);
  }

  seen(id: string): readonly Seen[] {
    return this.#seen.get(id) ?? [];
  }

  get connections(): number {
    return this.#sockets.size;
  }

  forget(): void {
    this.#seen.clear();
  }

  /** Until something that was seen makes it true. */
  until(met: () => boolean, withinMs = 10_000): Promise<boolean> {
    return this.#changes.until(met, withinMs);
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #wake(): void {
    this.#changes.tell();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let seen: Seen | undefined;
    let behaviour = this.fallback;
    let nth = 0;
    const reader: Reader = new Reader(
      ({ line, fields }) => {
        const id = valuesOf(fields, "x-row").join() || "-";
        const [length] = valuesOf(fields, "content-length");
        const chunked = valuesOf(fields, "transfer-encoding").length > 0;
        seen = {
          line,
          method: line.slice(0, line.indexOf(" ")),
          target: line.slice(line.indexOf(" ") + 1, line.lastIndexOf(" ")),
          fields,
          body: Buffer.alloc(0),
          bodyBytes: 0,
          sha256: "",
          trailers: [],
          framing: chunked ? "chunked" : length === undefined ? "none" : "length",
          whole: false,
          gone: false,
          at: performance.now(),
        };
        const all = this.#seen.get(id) ?? [];
        this.#seen.set(id, [...all, seen]);
        nth = all.length + 1;
        behaviour = this.#behaviours.get(id) ?? this.#behaviours.get(id.split(".")[0] ?? "") ?? this.fallback;
        if (behaviour.early) behaviour.answer(socket, seen, nth);
        this.#wake();
        if (chunked) return { kind: "chunked" };
        return length === undefined ? { kind: "none" } : { kind: "length", bytes: Number(length) };
      },
      () => {
        if (seen === undefined) return;
        seen.body = reader.body;
        seen.bodyBytes = reader.bodyBytes;
        seen.sha256 = createHash("sha256").update(seen.body).digest("hex");
        seen.trailers = [...reader.trailers];
        seen.whole = true;
        if (!behaviour.early) behaviour.answer(socket, seen, nth);
        this.#wake();
      },
    );
    socket.on("data", (bytes) => {
      reader.push(bytes);
      if (seen !== undefined && !seen.whole) {
        seen.bodyBytes = reader.bodyBytes;
        if (reader.fault !== undefined) seen.framing = "bad";
      }
    });
    socket.on("end", () => socket.end());
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#sockets.delete(socket);
      if (seen !== undefined) seen.gone = true;
      this.#wake();
    });
  }
}
