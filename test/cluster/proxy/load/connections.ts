// New TCP connections: each is opened, gets its server's name, and is closed.
import { connect } from "node:net";
import type { Target } from "./messages.ts";
import type { Tally } from "./tally.ts";

/** A SYN that is lost is sent again after 1, 3, 7 and 15 seconds; a server that is starved of its processor may take as long. */
const WITHIN_MS = 30_000;

export class Connections {
  readonly #target: Target;
  readonly #tally: Tally;
  readonly #hear: (name: string) => void;

  constructor(target: Target, tally: Tally, hear: (name: string) => void) {
    [this.#target, this.#tally, this.#hear] = [target, tally, hear];
  }

  ask(): void {
    this.#tally.ask(this.#target.family, () => nameBehind(this.#target), this.#hear);
  }

  async end(): Promise<void> {
    await this.#tally.over();
  }
}

function nameBehind({ address, port }: Target): Promise<string> {
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
