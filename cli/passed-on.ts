// A command whose arguments another program of this package reads: it says itself what it accepts. What a shell offers after TAB, and
// help, are of that program, so that nothing is written twice.
import { Command } from "commander";

export interface Reader {
  readonly description: string;
  readonly help: string;
  /** Names of its options, without the dashes. */
  readonly options: readonly string[];
}

export class PassedOn extends Command {
  readonly #reader: Reader;

  constructor(name: string, reader: Reader) {
    super(name);
    this.#reader = reader;
    this.description(reader.description).usage("[options]").allowUnknownOption().allowExcessArguments();
  }

  /** For completion. */
  get longOptions(): string[] {
    return this.#reader.options.map((name) => `--${name}`).filter((each) => each !== "--help");
  }

  override helpInformation(): string {
    return this.#reader.help;
  }
}
