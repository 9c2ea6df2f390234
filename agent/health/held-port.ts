// A port of the node, held by the agent that is active on it. During an upgrade the agent before still holds it until it is told to
// finish, so whoever wants a port tries until it gets it.
import type { Server } from "node:http";

const RETRY_MS = 500;

export interface Closable {
  close(): void;
}

export interface HeldPort extends Closable {
  /** The one that is bound, where 0 was asked for. */
  readonly port: number;
  /** Whether it is ours now. */
  readonly isHeld: boolean;
  /** Resolves when the first try has succeeded or failed. */
  readonly tried: Promise<void>;
}

export const closable = (server: Server): Closable => ({
  close() {
    server.close();
    server.closeAllConnections();
  },
});

/** `host` undefined: at all addresses of both families. `busy` is called once if the first try fails. */
export function holdPort(
  server: Server,
  { host, port }: { readonly host?: string | undefined; readonly port: number },
  busy: (error: Error) => void,
): HeldPort {
  let retry: NodeJS.Timeout | undefined;
  const { promise: tried, resolve } = Promise.withResolvers<void>();
  const listen = () => void server.listen(host === undefined ? { port } : { host, port });
  server.on("error", (error) => {
    if (retry === undefined) busy(error);
    retry = setTimeout(listen, RETRY_MS);
    resolve();
  });
  server.once("listening", resolve);
  listen();
  return {
    tried,
    get isHeld() {
      return server.listening;
    },
    get port() {
      const bound = server.address();
      return typeof bound === "object" && bound !== null ? bound.port : port;
    },
    close() {
      clearTimeout(retry);
      closable(server).close();
    },
  };
}
