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
  /** Resolves when it is ours, if that ever happens. */
  readonly held: Promise<void>;
}

export const closable = (server: Server): Closable => ({
  close() {
    server.close();
    server.closeAllConnections();
  },
});

export interface At {
  /** Undefined: at all addresses of both families. */
  readonly host?: string;
  readonly port: number;
  /** Of "::", which else takes in all of IPv4. */
  readonly ipv6Only?: boolean;
}

/** `busy` is called once if the first try fails. */
export function holdPort(server: Server, at: At, busy: (error: Error) => void): HeldPort {
  let retry: NodeJS.Timeout | undefined;
  const { promise: tried, resolve } = Promise.withResolvers<void>();
  const { promise: held, resolve: hold } = Promise.withResolvers<void>();
  const listen = () => void server.listen({ ...at });
  server.on("error", (error) => {
    if (retry === undefined) busy(error);
    retry = setTimeout(listen, RETRY_MS);
    resolve();
  });
  server.once("listening", hold);
  void held.then(resolve);
  listen();
  return {
    tried,
    held,
    get isHeld() {
      return server.listening;
    },
    get port() {
      const bound = server.address();
      return typeof bound === "object" && bound !== null ? bound.port : at.port;
    },
    close() {
      clearTimeout(retry);
      closable(server).close();
    },
  };
}
