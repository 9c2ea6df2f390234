// The stage of the controller's tests: a real API server, a stand-in of the edge, and one agent that leads. `agent` may be
// replaced; whichever is there at the end is stopped.
import { afterAll, beforeAll, expect } from "vitest";
import { Edge } from "../../../agent/publish/edge.ts";
import { endpoint, node, slice } from "../../../agent/source/objects.ts";
import { ApiServer } from "../../harness/api-server.ts";
import { type AgentParts, ControllingAgent } from "./controlling-agent.ts";
import { service, Services, until } from "./services.ts";

export class Stage {
  readonly server = new ApiServer();
  readonly services = new Services(this.server);
  readonly edge = new Edge();
  #agent: ControllingAgent | undefined;

  /** For one test file: begins and ends with it. */
  static ofFile(parts: AgentParts = {}): Stage {
    const stage = new Stage();
    beforeAll(async () => {
      await stage.server.start();
      await stage.server.apply(node("n1"));
      await stage.edge.start();
      await stage.lead(parts);
    }, 600_000);
    stage.services.freeAfterFailure();
    afterAll(async () => {
      await stage.#agent?.stop();
      await stage.edge.stop();
      await stage.server.stop();
    });
    return stage;
  }

  get agent(): ControllingAgent {
    if (this.#agent === undefined) throw new Error("no agent has been started");
    return this.#agent;
  }

  /** Another agent, until it leads. Whoever was there before was stopped by the caller. */
  async lead(parts: AgentParts = {}): Promise<void> {
    const agent = new ControllingAgent(this.server, this.edge, parts);
    this.#agent = agent;
    await until(() => expect(agent.leading).toBe(true));
  }

  /** One ready endpoint, on n1. */
  ready(name: string): Promise<unknown> {
    return this.server.apply(slice(name, [endpoint("10.0.0.1", "n1", { ready: true })]));
  }

  /** Until the status has the address and the Event that says so: after it the agent asks nothing more of its own. */
  async serve(name: string, spec: object = {}, metadata: object = {}): Promise<void> {
    await this.ready(name);
    await this.server.create(service(name, spec, metadata));
    await this.services.isServed(name);
    await this.services.isToldServed(name);
  }
}
