// How the Node.js programs (listener proxy and agent) connect to the server behind them: undici's connector, and what HTTP
// asks of a client beyond it. It owns nothing: the socket is undici's.
import { buildConnector } from "undici";
import { InterimHeads } from "./interim.ts";

type Connector = buildConnector.connector;
type Socket = NonNullable<Parameters<buildConnector.Callback>[1]>;

/** undici's own connector, which then applies `changes` to each connected socket, in turn. */
export function connector(options: buildConnector.BuildOptions, ...changes: ((socket: Socket) => void)[]): Connector {
  const connect = buildConnector(options);
  return (to, callback) =>
    connect(to, (...[error, socket]) => {
      if (error) return callback(error, null);
      for (const change of changes) change(socket);
      callback(null, socket);
    });
}

/**
 * A server may answer and close before it has read all of the request ("413", "401"). The write that fails then must not
 * hide the answer, which is still to be read (RFC 9112 §9.5: "SHOULD … read the response"): reading tells what there is,
 * and ends the socket where there is nothing.
 */
export function answerBeforeWriteError(socket: Socket): void {
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  const unlessClosed =
    (done: (error?: Error | null) => void) =>
    (error?: Error | null): void => {
      const { code } = (error ?? {}) as NodeJS.ErrnoException;
      // `done` is not called then: the socket takes no more, and its read side is about to end.
      if (code === "EPIPE" || code === "ECONNRESET") return;
      done(error);
    };
  socket._write = (chunk, encoding, done) => write(chunk, encoding, unlessClosed(done));
  if (writev !== undefined) socket._writev = (chunks, done) => writev(chunks, unlessClosed(done));
}

/** What the request fails with where the kernel took none of its bytes: no server can have seen any of it. */
export class NothingSent extends Error {
  /** The connection had carried a request before: its server closed it between the two. */
  readonly kept: boolean;

  constructor(kept: boolean, cause: Error) {
    super(`the connection was closed before the request: ${cause.message}`, { cause });
    this.kept = kept;
  }
}

/**
 * Breaks the socket with NothingSent where the write of a request's head, with whatever of its body goes along, fails at
 * once. Node.js tells such an error before the call returns, and only where the kernel took nothing; a write that went on in
 * part fails later. To be applied before answerBeforeWriteError, which keeps such errors to itself.
 */
export function tellNothingSent(socket: Socket): void {
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  let heads = 0;
  const watch = (done: Done, begin: (done: Done) => void): void => {
    heads++;
    let atOnce = true;
    begin((error) => {
      if (error && atOnce) socket.destroy(new NothingSent(heads > 1, error));
      else done(error);
    });
    atOnce = false;
  };
  socket._write = (chunk, encoding, done) =>
    isHead(chunk) ? watch(done, (told) => write(chunk, encoding, told)) : write(chunk, encoding, done);
  if (writev === undefined) return;
  socket._writev = (chunks, done) =>
    isHead(chunks[0]?.chunk) ? watch(done, (told) => writev(chunks, told)) : writev(chunks, done);
}

type Done = (error?: Error | null) => void;

/** undici writes heads as text. Its only other texts, a chunk's size and a chunked body's end, begin with a line's end. */
const isHead = (chunk: unknown): boolean => typeof chunk === "string" && !chunk.startsWith("\r");

/** A "100 Continue" that nobody asked for is left out of what undici reads: interim.ts. */
export function skipContinue(socket: Socket): void {
  const interim = new InterimHeads();
  const write = socket.write.bind(socket) as (chunk: unknown, encoding: unknown, done: unknown) => boolean;
  const read = socket.read.bind(socket) as (size?: number) => Buffer | null;
  socket.write = (chunk: unknown, encoding?: unknown, done?: unknown): boolean => {
    if (isHead(chunk)) interim.expect();
    return write(chunk, encoding, done);
  };
  socket.read = (size?: number): Buffer | null => {
    for (;;) {
      const chunk = read(size);
      if (chunk === null || interim.over) return chunk;
      const passed = interim.pass(chunk);
      if (passed.length > 0) return passed;
    }
  };
}

/**
 * undici takes ECONNRESET, for the sake of macOS, for the end of an answer that only the connection's end delimits: half an
 * answer would be a whole one. Here a reset is a break, whatever came before it.
 */
export function resetIsNoEnd(socket: Socket): void {
  const destroy = socket._destroy.bind(socket);
  socket._destroy = (error, done) => {
    const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
    const cut =
      code === "ECONNRESET" ? Object.assign(new Error("reset by the server", { cause: error }), { syscall }) : error;
    destroy(cut, done);
  };
}

/** Resets the connection when undici breaks it off, because workerd takes a plain end for a half-close. */
export function resetWhenBroken(socket: Socket): void {
  const destroy = socket.destroy.bind(socket);
  socket.destroy = (reason) => {
    if (!reason) return destroy();
    // resetAndDestroy() destroys without a reason; undici would take that for the end of an answer, one that it has aborted.
    socket.destroy = () => destroy(reason);
    return socket.resetAndDestroy();
  };
}
