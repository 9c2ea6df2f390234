// The residents of all places, from the run's side.
import { Channel } from "./channel.ts";
import { type Outcome, outcomeSchema, type Question } from "./messages.ts";
import type { Place } from "./places.ts";

export class Residents {
  readonly #channels = new Map<string, Channel<Question, Outcome>>();

  async start(places: readonly Place[]): Promise<void> {
    const opened = places.map(async ({ name }) => {
      this.#channels.set(name, await Channel.open(name, "resident.ts", [name], outcomeSchema));
    });
    await Promise.all(opened);
  }

  ask(place: string, question: Question): Promise<Outcome> {
    const channel = this.#channels.get(place);
    if (channel === undefined) throw new Error(`nobody lives in ${place}`);
    return channel.ask(question);
  }

  /** Throws where a port cannot be had. */
  async serve(place: string, ports: readonly number[]): Promise<void> {
    const outcome = await this.ask(place, { do: "serve", ports: [...ports] });
    if (outcome.kind !== "done") throw new Error(`${place} cannot serve: ${JSON.stringify(outcome)}`);
  }
}
