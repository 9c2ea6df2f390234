// A new TCP connection: it is opened, gets its server's name, and is closed.
import { connect } from "node:net";
import type { Target } from "./messages.ts";

/** A SYN that is lost is sent again after 1, 3, 7 and 15 seconds; a server that is starved of its processor may take as long. */
const WITHIN_MS = 30_000;

export function nameByConnection({ address, port }: Target): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port });
    const timer = setTimeout(
      () => socket.destroy(new Error(socket.connecting ? "timeout" : "connected, but not a word")),
      WITHIN_MS,
    );
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      resolve(text.trim());
      socket.end();
    });
    socket.on("error", reject);
    socket.on("close", () => {
      clearTimeout(timer);
      reject(new Error("closed without a word"));
    });
  });
}
