// Whether anybody is at an address: opens a TCP connection and closes it at once; nothing is sent.
import { connect } from "node:net";

/** Dials one endpoint. "unclear": neither the one nor the other, within 2 s. */
export type Knock = (address: string, port: number) => Promise<"accepts" | "refuses" | "unclear">;

const TIMEOUT_MS = 2_000;

export const knock: Knock = (address, port) =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port, timeout: TIMEOUT_MS });
    const end = (answer: Awaited<ReturnType<Knock>>): void => {
      // Not a FIN and half an hour of waiting: a server sees that nobody wants anything of it.
      socket.destroy();
      resolve(answer);
    };
    socket.on("connect", () => end("accepts"));
    socket.on("timeout", () => end("unclear"));
    socket.on("error", ({ code }: NodeJS.ErrnoException) => end(code === "ECONNREFUSED" ? "refuses" : "unclear"));
  });
