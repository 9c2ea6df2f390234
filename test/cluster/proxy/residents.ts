// The residents of all places, from the run's side. Owns their processes, which end with the run (isolation.ts).
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { inside } from "../harness/places.ts";
import { type Outcome, type Question, replySchema } from "./messages.ts";
import type { Place } from "./places.ts";

export class Residents {
  readonly #children = new Map<string, ChildProcess>();
  readonly #waiting = new Map<number, (outcome: Outcome) => void>();
  #ids = 0;

  async start(places: readonly Place[]): Promise<void> {
    await Promise.all(places.map((place) => this.#start(place.name)));
  }

  ask(place: string, question: Question): Promise<Outcome> {
    const child = this.#children.get(place);
    if (child === undefined) throw new Error(`nobody lives in ${place}`);
    const id = this.#ids++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      child.send({ id, question });
    });
  }

  /** Throws where a port cannot be had. */
  async serve(place: string, ports: readonly number[]): Promise<void> {
    const outcome = await this.ask(place, { do: "serve", ports: [...ports] });
    if (outcome.kind !== "done") throw new Error(`${place} cannot serve: ${JSON.stringify(outcome)}`);
  }

  async #start(name: string): Promise<void> {
    const [program = "", ...prefix] = inside(name);
    const file = new URL("resident.ts", import.meta.url).pathname;
    const child = spawn(program, [...prefix, process.execPath, file, name], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#children.set(name, child);
    await once(child, "message");
    child.on("message", (message) => {
      const { id, outcome } = replySchema.parse(message);
      this.#waiting.get(id)?.(outcome);
      this.#waiting.delete(id);
    });
    child.on("exit", (code) => {
      // Without it the table says nothing: the run ends, and all that it started.
      console.error(`the resident of ${name} has ended with ${code}`);
      process.exit(2);
    });
  }
}
