// A client of the load, in one place's network namespace: asks on and on in four ways, and counts. The run tells it what
// (crowd.ts). It asks by the clock, not after an answer, so that whoever is slow is not asked less.
import { readFileSync } from "node:fs";
import { answerQuestions } from "../channel.ts";
import { Anew } from "./anew.ts";
import { nameByConnection } from "./connection.ts";
import { type ClientOrder, clientOrderSchema, type Counts, type Target } from "./messages.ts";
import { Flow, nameByDatagram } from "./questions.ts";
import { Stream } from "./stream.ts";
import { Tally } from "./tally.ts";

const STREAMS_EACH = 2;

class Load {
  readonly names: Record<string, number> = {};
  readonly #counted = { connections: new Tally(), questions: new Tally(), flows: new Tally() };
  readonly #streamCounts: Counts["streams"] = { opened: 0, finished: 0, lost: {}, silenceMs: 0 };
  readonly #synsBefore = synsAgain();
  readonly #askers: readonly { ask(): void; end(): Promise<void> }[];
  readonly #timer: NodeJS.Timeout;

  constructor(targets: readonly Target[], everyMs: number) {
    const hear = (name: string): void => void (this.names[name] = (this.names[name] ?? 0) + 1);
    const { connections, questions, flows } = this.#counted;
    this.#askers = targets.flatMap((target) => [
      new Anew(target, connections, hear, nameByConnection),
      new Anew(target, questions, hear, nameByDatagram),
      new Flow(target, flows, hear),
      ...Array.from({ length: STREAMS_EACH }, () => new Stream(target, this.#streamCounts)),
    ]);
    this.#timer = setInterval(() => this.#askers.forEach((each) => each.ask()), everyMs);
  }

  get counts(): Counts {
    const { connections, questions, flows } = this.#counted;
    return {
      ...{ connections: connections.asked, questions: questions.asked, flows: flows.asked },
      ...{ streams: this.#streamCounts, synsAgain: synsAgain() - this.#synsBefore, names: this.names },
    };
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#askers.map((each) => each.end()));
  }
}

let load: Load | undefined;

answerQuestions(clientOrderSchema, async (order: ClientOrder): Promise<Counts> => {
  if (order.do === "begin") load = new Load(order.targets, order.everyMs);
  if (load === undefined) throw new Error("nothing was begun");
  if (order.do === "forget names") for (const name of Object.keys(load.names)) delete load.names[name];
  if (order.do === "end") await load.end();
  return load.counts;
});

/** The kernel's own count, of this network namespace. A lost SYN delays a connection by a second and more, and fails none. */
function synsAgain(): number {
  const [names = "", values = ""] = readFileSync("/proc/self/net/netstat", "utf8").split("\n");
  return Number(values.split(" ")[names.split(" ").indexOf("TCPSynRetrans")]);
}
