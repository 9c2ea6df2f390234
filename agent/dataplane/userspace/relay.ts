// One TCP connection that reached a NodePort: dials an endpoint, then moves bytes both ways. Owns both sockets from the
// first moment to the last. Back-pressure and half-close are kept; a side that breaks breaks the other (reset, never a clean
// end, so that a cut answer cannot look whole).
import { connect, type Socket } from "node:net";
import type { Backend, EndpointState } from "../../endpoints/endpoints.ts";

/** For one endpoint; then the next one is tried. A pod on the LAN answers in milliseconds or not at all. */
const CONNECT_TIMEOUT_MS = 2_000;
/** Endpoints tried for one connection. */
const ATTEMPTS_MAX = 4;
const KEEP_ALIVE_MS = 60_000;

/** `client` is paused and nothing was read from it. Resolves when both sockets are closed. */
export async function relay(client: Socket, backend: Backend, now: () => number): Promise<void> {
  client.on("error", () => client.destroy());
  let attempts = 0;
  for (const endpoint of backend.order(client.remoteAddress ?? "", now())) {
    if (attempts++ >= ATTEMPTS_MAX || client.destroyed) break;
    endpoint.begin();
    try {
      const upstream = await dial(endpoint);
      if (upstream === undefined) continue;
      await join(client, upstream, endpoint);
      return;
    } finally {
      endpoint.end();
    }
  }
  client.resetAndDestroy();
}

/** Undefined where no connection came about; the endpoint has been told. */
function dial(endpoint: EndpointState): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const { address: host, port } = endpoint;
    const upstream = connect({
      host,
      port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    const fail = (why: string) => {
      upstream.destroy();
      endpoint.failed(why);
      resolve(undefined);
    };
    const failed = (error: NodeJS.ErrnoException) =>
      fail(error.code === "ECONNREFUSED" ? "connection refused" : error.message);
    upstream.setTimeout(CONNECT_TIMEOUT_MS, () => fail(`no connection within ${CONNECT_TIMEOUT_MS} ms`));
    upstream.once("error", failed);
    upstream.once("connect", () => {
      upstream.setTimeout(0);
      upstream.removeAllListeners("timeout");
      upstream.off("error", failed);
      resolve(upstream);
    });
  });
}

function join(client: Socket, upstream: Socket, endpoint: EndpointState): Promise<void> {
  return new Promise((resolve) => {
    let open = 2;
    const closed = (socket: Socket, other: Socket) => {
      // Both halves ended: the other side ends by itself once it has written what it holds.
      const whole = socket.readableEnded && socket.writableFinished;
      if (!whole && !other.destroyed) other.resetAndDestroy();
      if (--open === 0) resolve();
    };
    upstream.once("data", () => endpoint.succeeded());
    upstream.on("error", (error: NodeJS.ErrnoException) => {
      if (upstream.bytesRead === 0 && !client.destroyed) endpoint.failed(`closed before it answered: ${error.code}`);
    });
    client.once("close", () => closed(client, upstream));
    upstream.once("close", () => closed(upstream, client));
    // The client may have gone while we dialled.
    if (client.destroyed) closed(client, upstream);
    client.setNoDelay(true);
    client.setKeepAlive(true, KEEP_ALIVE_MS);
    client.pipe(upstream);
    upstream.pipe(client);
  });
}
