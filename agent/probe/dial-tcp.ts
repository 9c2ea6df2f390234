// One TCP connect, for a report: what came of it, and after how long. Sends nothing, and closes at once.
import { connect } from "node:net";
import type { Dial } from "../../src/shared/model/node-report.ts";

export type DialTcp = (address: string, port: number) => Promise<Dial>;

/** A pod of this cluster answers in far less, and whoever asked waits. */
export const DIAL_MS = 1_000;

/** An ICMP answer, or none of the node's routes leads there. */
const UNREACHABLE = new Set(["EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "EACCES", "EPERM"]);

export const dialTcp: DialTcp = (address, port) =>
  new Promise((resolve) => {
    const began = performance.now();
    const socket = connect({ host: address, port });
    const end = (result: Dial["result"], why?: string): void => {
      clearTimeout(timer);
      // destroy() instead of end(), so that no half-open connection waits for the server.
      socket.destroy();
      const ms = Math.round((performance.now() - began) * 10) / 10;
      resolve({ result, ms, ...(why === undefined ? {} : { why }) });
    };
    // Not the socket's own timeout, which a connection that is being made may not obey on all systems.
    const timer = setTimeout(() => end("timeout"), DIAL_MS);
    socket.on("connect", () => end("connected"));
    socket.on("error", ({ code = "unknown" }: NodeJS.ErrnoException) => {
      if (code === "ECONNREFUSED") return end("refused", code);
      if (code === "ETIMEDOUT") return end("timeout", code);
      return end(UNREACHABLE.has(code) ? "unreachable" : "failed", code);
    });
  });
