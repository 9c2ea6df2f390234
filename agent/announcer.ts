// Tells the edge what this cluster has, as far as this node serves it already: what the edge routes here must not arrive before
// the node can take it. Adds to the snapshot what only a leader may say, and warns of what the edge answers.
// Nothing survives a restart.
import { type Condition, isTrouble } from "../src/shared/model/conditions.ts";
import type { PublishResult, Snapshot } from "../src/shared/model/snapshot.ts";
import type { Controller, ControllerOptions } from "./controller/controller.ts";
import { Listening } from "./health/listening.ts";
import type { LogOnce } from "./log-once.ts";
import { exposedAs } from "./plan/eligible.ts";
import { buildSnapshot } from "./plan/snapshot.ts";
import { type PublisherOptions, startPublisher } from "./publish/push.ts";
import type { Rules } from "./rules.ts";
import type { Observed } from "./source/source.ts";

/** What a Controller asks of the Announcer, and calls when something happened. */
export type AnnouncerHooks = Pick<ControllerOptions, "exposedAs" | "buildSnapshot" | "onResult" | "onLeading">;

export interface AnnouncerOptions {
  readonly rules: Rules;
  readonly logOnce: LogOnce;
  /** The latest observed state, if the node serves it; else undefined. */
  readonly served: () => Observed | undefined;
  /** "namespace/name" → why addresses of that ExternalName are not dialled from this node. */
  readonly refused: (observed: Observed) => ReadonlyMap<string, string>;
  /** "namespace/name" → what the kernel of this node does not do of it. */
  readonly incomplete: () => ReadonlyMap<string, Condition>;
  readonly start: (hooks: AnnouncerHooks) => Controller;
  /** The edge accepted a snapshot. */
  readonly onAccepted: () => void;
  readonly startListening?: (onChange: () => void) => Pick<Listening, "silent" | "watch" | "stop">;
}

export class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #controller: Controller;
  /** Exists while this agent leads. Without a leader every agent publishes, and all must publish the same. */
  #listening: Pick<Listening, "silent" | "watch" | "stop"> | undefined;
  /** Undefined before the first connection. */
  #connected: boolean | undefined;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    this.#controller = options.start({
      exposedAs: (service) => exposedAs(service, options.rules),
      buildSnapshot: (observed) => this.#snapshotOf(observed),
      onResult: (result) => {
        options.onAccepted();
        options.logOnce.warn("conditions", conditionLines(result));
      },
      onLeading: (leading) => this.#lead(leading),
    });
  }

  /** Offers what the node serves. While it serves nothing or something older, nothing is offered: call this again then. */
  announce(): void {
    const observed = this.#options.served();
    if (observed !== undefined) this.#controller.offer(observed);
  }

  /** An edge to which the tunnel comes back may have lost its state (a new deployment): it gets the snapshot again. */
  tunnelChanged({ connected }: { readonly connected: boolean }): void {
    if (connected && this.#connected === false) this.#controller.repeat();
    if (connected || this.#connected !== undefined) this.#connected = connected;
  }

  /** Gives the Lease back, so that the next leader can take over. */
  async stop(): Promise<void> {
    await this.#controller.stop();
  }

  #snapshotOf(observed: Observed): Snapshot {
    const { rules, refused, incomplete } = this.#options;
    const listening = this.#listening;
    const own =
      listening === undefined ? {} : { silent: listening.silent, refused: refused(observed), incomplete: incomplete() };
    const snapshot = buildSnapshot(observed, { ...rules, ...own });
    listening?.watch(snapshot.services);
    return snapshot;
  }

  #lead(leading: boolean): void {
    const { logOnce, startListening = (onChange) => new Listening({ onChange }) } = this.#options;
    if (!leading) logOnce.warn("conditions", []);
    this.#listening?.stop();
    this.#listening = leading ? startListening(() => this.announce()) : undefined;
  }
}

/** For a folder of files as the source, where no Lease can be held: every agent publishes what it observes. */
export function publishWithoutLeader(options: PublisherOptions & Pick<AnnouncerHooks, "buildSnapshot">): Controller {
  const publisher = startPublisher(options);
  return {
    offer: (observed) => publisher.offer(options.buildSnapshot(observed)),
    repeat: () => publisher.repeat(),
    stop: () => publisher.stop(),
  };
}

/** What the edge says of each Service, where there is something to do: "Service default/web: no pod matches …". */
function conditionLines({ services }: PublishResult): string[] {
  return Object.entries(services).flatMap(([service, { conditions }]) =>
    conditions.filter(isTrouble).map(({ message }) => `Service ${service}: ${message}`),
  );
}
