// How the Node.js programs (listener proxy and agent) connect to the server behind them: undici's connector, and what HTTP
// asks of a client beyond it. Owns nothing: the socket is undici's.
import { buildConnector } from "undici";

type Connector = buildConnector.connector;
type Socket = NonNullable<Parameters<buildConnector.Callback>[1]>;

/** undici's own, with each connected socket changed by `changes` in turn. */
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
      // Never called back: the socket takes no more, and its read side is about to end.
      if (code === "EPIPE" || code === "ECONNRESET") return;
      done(error);
    };
  socket._write = (chunk, encoding, done) => write(chunk, encoding, unlessClosed(done));
  if (writev !== undefined) socket._writev = (chunks, done) => writev(chunks, unlessClosed(done));
}

/** Ends with a reset when undici breaks it off: workerd takes an end alone for a half-close. */
export function resetWhenBroken(socket: Socket): void {
  const destroy = socket.destroy.bind(socket);
  socket.destroy = (reason) => {
    if (!reason) return destroy();
    // resetAndDestroy() destroys without a reason; undici would take that for the end of an answer, one that it has aborted.
    socket.destroy = () => destroy(reason);
    return socket.resetAndDestroy();
  };
}
