// Takes the times of one traced request on its node: for the edge's access log, and for nobody else.
import { hostPort } from "../../src/shared/net/host-port.ts";
import type { AnsweredBy } from "../../src/shared/wire/messages.ts";

export class Stopwatch {
  readonly #receivedAt = performance.now();
  #sentAt = this.#receivedAt;

  /** The request goes to an endpoint now; the last of several counts. */
  sent(): void {
    this.#sentAt = performance.now();
  }

  /** That endpoint's answer begins: what the head says of it. */
  answered(endpoint: { readonly address: string; readonly port: number } | undefined): { readonly by?: AnsweredBy } {
    if (endpoint === undefined) return {};
    const { address, port } = endpoint;
    return {
      by: {
        endpoint: hostPort(address, port),
        sentAfterMs: Math.round(this.#sentAt - this.#receivedAt),
        answeredAfterMs: Math.round(performance.now() - this.#sentAt),
      },
    };
  }
}
