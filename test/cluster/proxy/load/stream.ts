// One TCP connection that carries bytes all the time: what is sent comes back. When its server ends it in order another one is
// opened; whatever else ends it is a loss, and so is a silence that no application would bear.
import { connect, type Socket } from "node:net";
import type { Counts, Target } from "./messages.ts";
import { podOf, reasonOf } from "./tally.ts";

const SILENCE_MAX_MS = 15_000;
const BYTES = Buffer.alloc(64, ".");

export class Stream {
  readonly #target: Target;
  readonly #counts: Counts["streams"];
  #socket: Socket | undefined;
  #heard = 0;

  constructor(target: Target, counts: Counts["streams"]) {
    [this.#target, this.#counts] = [target, counts];
  }

  /** Sends some bytes, which are to come back. */
  ask(): void {
    const socket = (this.#socket ??= this.#open());
    const silence = performance.now() - this.#heard;
    if (this.#heard > 0) this.#counts.silenceMs = Math.max(this.#counts.silenceMs, Math.round(silence));
    if (silence > SILENCE_MAX_MS && this.#heard > 0) socket.destroy(new Error("silence"));
    else if (socket.writable && !socket.connecting) socket.write(BYTES);
  }

  end(): Promise<void> {
    const socket = this.#socket;
    socket?.removeAllListeners();
    socket?.on("error", () => {});
    socket?.destroy();
    return Promise.resolve();
  }

  #open(): Socket {
    const { family, address, port } = this.#target;
    const socket = connect({ host: address, port });
    socket.setNoDelay();
    this.#heard = 0;
    let reason: string | undefined;
    socket.on("connect", () => {
      this.#counts.opened += 1;
      this.#heard = performance.now();
    });
    socket.once("data", (data) => {
      try {
        podOf(data.toString().split("\n")[0] ?? "");
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.on("data", () => (this.#heard = performance.now()));
    socket.on("error", (error) => (reason = `${family} ${reasonOf(error)}`));
    socket.on("close", () => {
      this.#socket = undefined;
      if (reason === undefined) this.#counts.finished += 1;
      else this.#counts.lost[reason] = (this.#counts.lost[reason] ?? 0) + 1;
    });
    return socket;
  }
}
