// Questions by UDP, as resolvers ask: each once, without a repetition, so that what is lost is seen.
import { createSocket, type Socket } from "node:dgram";
import type { Target } from "./messages.ts";
import type { Tally } from "./tally.ts";

/** Much more than a busy machine needs. */
const WITHIN_MS = 4_000;

const socketTo = ({ family, address, port }: Target): Promise<Socket> =>
  new Promise((resolve, reject) => {
    // Connected, so that it hears of ICMP errors.
    const socket = createSocket({ type: family === "IPv4" ? "udp4" : "udp6" });
    socket.on("error", reject);
    socket.connect(port, address, () => resolve(socket));
  });

/** From a port of its own: it is the first packet of its flow. */
export async function nameByDatagram(target: Target): Promise<string> {
  const socket = await socketTo(target);
  try {
    return await answerTo(socket, "0");
  } finally {
    socket.close();
  }
}

/** All questions from one port: the kernel leads them to one endpoint until somebody tells it otherwise. */
export class Flow {
  readonly #target: Target;
  readonly #tally: Tally;
  readonly #hear: (name: string) => void;
  readonly #socket: Promise<Socket>;
  #next = 0;

  constructor(target: Target, tally: Tally, hear: (name: string) => void) {
    [this.#target, this.#tally, this.#hear] = [target, tally, hear];
    this.#socket = socketTo(target).then((socket) => socket.setMaxListeners(0));
  }

  ask(): void {
    const id = String(this.#next++);
    this.#tally.ask(this.#target.family, async () => await answerTo(await this.#socket, id), this.#hear);
  }

  async end(): Promise<void> {
    await this.#tally.over();
    (await this.#socket).close();
  }
}

/** "b1 17" answers question 17. */
function answerTo(socket: Socket, id: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const over = (): void => {
      clearTimeout(timer);
      socket.off("message", hear);
      socket.off("error", fail);
    };
    const hear = (data: Buffer): void => {
      const text = data.toString();
      const [name = "", answered] = text.split(" ");
      // Whoever is no server of the load has other words.
      if (answered !== id && /^[abc][12] /.test(text)) return;
      over();
      resolve(name);
    };
    const fail = (error: Error): void => {
      over();
      reject(error);
    };
    const timer = setTimeout(() => fail(new Error("timeout")), WITHIN_MS);
    socket.on("message", hear);
    socket.on("error", fail);
    socket.send(id, (error) => {
      if (error) fail(error);
    });
  });
}
