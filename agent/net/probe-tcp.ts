// Whether a host accepts connections at an address: opens a TCP connection and closes it at once. Sends nothing.
import { connect } from "node:net";

/** Dials one address. "unclear" means that the host neither accepted nor refused within 2 s. */
export type ProbeTcp = (address: string, port: number) => Promise<"accepts" | "refuses" | "unclear">;

const TIMEOUT_MS = 2_000;

export const probeTcp: ProbeTcp = (address, port) =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port, timeout: TIMEOUT_MS });
    const end = (answer: Awaited<ReturnType<ProbeTcp>>): void => {
      // destroy() instead of end(), so that no half-open connection waits for the server.
      socket.destroy();
      resolve(answer);
    };
    socket.on("connect", () => end("accepts"));
    socket.on("timeout", () => end("unclear"));
    socket.on("error", ({ code }: NodeJS.ErrnoException) => end(code === "ECONNREFUSED" ? "refuses" : "unclear"));
  });
