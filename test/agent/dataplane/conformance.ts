// What every Executor promises for packets to a NodePort: given this plan, a dial of the node's address ends at these
// endpoints. Real sockets; the rig says where the node and its pods live, so that kernel executors can run it, too.
import { createServer, connect, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Executor } from "../../../agent/dataplane/executor.ts";
import type { PlanEndpoint } from "../../../agent/plan/plan.ts";
import { freePort } from "../../../src/host/process/free-port.ts";
import { plan, planEndpoint, planPort, planService } from "./plans.ts";

export interface ExecutorRig {
  readonly executor: Executor;
  /** Where NodePorts are dialled. */
  readonly nodeAddress: string;
  /** Where pods may listen. */
  readonly podAddress: string;
  dispose(): Promise<void>;
}

/** A pod: says its name, then what it was sent, once the client has ended its half. */
class Pod {
  readonly name: string;
  readonly server: Server;
  readonly sockets = new Set<Socket>();
  endpoint!: PlanEndpoint;

  constructor(name: string) {
    this.name = name;
    this.server = createServer({ allowHalfOpen: true }, (socket) => {
      this.sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.sockets.delete(socket));
      socket.write(`${name} `);
      socket.pipe(socket);
    });
  }

  async listen(address: string): Promise<PlanEndpoint> {
    await once(this.server.listen(0, address), "listening");
    const { port } = this.server.address() as { port: number };
    this.endpoint = planEndpoint(address, port, { key: `uid-${this.name}` });
    return this.endpoint;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    if (this.server.listening) await new Promise((resolve) => this.server.close(resolve));
  }
}

export function executorConformance(name: string, create: () => Promise<ExecutorRig>): void {
  describe(`Executor: ${name}`, () => {
    let rig: ExecutorRig;
    let a: Pod;
    let b: Pod;
    let nodePort: number;
    let other: number;
    beforeEach(async () => {
      rig = await create();
      [a, b] = [new Pod("a"), new Pod("b")];
      await Promise.all([a, b].map((pod) => pod.listen(rig.podAddress)));
      [nodePort, other] = [await freePort(rig.nodeAddress), await freePort(rig.nodeAddress)];
    });
    afterEach(async () => {
      await rig.executor.clear();
      await Promise.all([a.stop(), b.stop()]);
      await rig.dispose();
    });

    const apply = async (...services: readonly ReturnType<typeof planService>[]) =>
      (await rig.executor.apply(plan(...services))).problems;
    const web = (endpoints: readonly PlanEndpoint[], parts = {}, portParts = {}) =>
      planService("default/web", [planPort(endpoints, { nodePort, ...portParts })], parts);
    /** What one connection gets: the pod's name and what was sent, or "refused". */
    const ask = async (port = nodePort, sent = "hello") => {
      const socket = connect({ host: rig.nodeAddress, port, allowHalfOpen: true });
      try {
        await once(socket, "connect");
        socket.end(sent);
        return await text(socket);
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === "ECONNREFUSED" ? "refused" : "reset";
      }
    };
    const askTimes = async (times: number) => {
      const answers: string[] = [];
      for (let i = 0; i < times; i++) answers.push(await ask());
      return answers;
    };

    it("carries a connection to the endpoint and back, each half closed by itself", async () => {
      expect(await apply(web([a.endpoint]))).toEqual([]);
      expect(await ask()).toBe("a hello");
    });

    it("spreads connections over all endpoints", async () => {
      await apply(web([a.endpoint, b.endpoint]));
      expect(new Set(await askTimes(20))).toEqual(new Set(["a hello", "b hello"]));
    });

    it("refuses where there is no endpoint, and serves when there is one again", async () => {
      await apply(web([]));
      expect(await ask()).toBe("refused");
      await apply(web([a.endpoint]));
      expect(await ask()).toBe("a hello");
      await apply(web([]));
      expect(await ask()).toBe("refused");
    });

    it("goes to terminating endpoints where they are all that is listed", async () => {
      await apply(web([{ ...a.endpoint, terminating: true }]));
      expect(await ask()).toBe("a hello");
    });

    it("follows a change of endpoints", async () => {
      await apply(web([a.endpoint]));
      await apply(web([b.endpoint]));
      expect(new Set(await askTimes(5))).toEqual(new Set(["b hello"]));
    });

    it("follows a change of NodePort, and frees the old one", async () => {
      await apply(web([a.endpoint]));
      await apply(web([a.endpoint], {}, { nodePort: other }));
      expect([await ask(nodePort), await ask(other)]).toEqual(["refused", "a hello"]);
    });

    it("gives a NodePort to another Service", async () => {
      await apply(web([a.endpoint]));
      await apply(planService("default/shop", [planPort([b.endpoint], { nodePort })]));
      expect(await ask()).toBe("b hello");
    });

    it("serves several ports and Services side by side", async () => {
      await apply(web([a.endpoint]), planService("default/shop", [planPort([b.endpoint], { nodePort: other })]));
      expect([await ask(nodePort), await ask(other)]).toEqual(["a hello", "b hello"]);
    });

    it("serves Services that are not exposed, too", async () => {
      await apply(web([a.endpoint], { exposed: false, kind: "NodePort" }));
      expect(await ask()).toBe("a hello");
    });

    it("keeps one client at one endpoint with ClientIP affinity", async () => {
      await apply(web([a.endpoint, b.endpoint], { affinitySeconds: 60 }));
      expect(new Set(await askTimes(10)).size).toBe(1);
    });

    it("switches affinity on and off while it runs", async () => {
      await apply(web([a.endpoint, b.endpoint], { affinitySeconds: 60 }));
      await ask();
      await apply(web([a.endpoint, b.endpoint]));
      expect(new Set(await askTimes(20)).size).toBe(2);
      await apply(web([a.endpoint, b.endpoint], { affinitySeconds: 60 }));
      expect(new Set(await askTimes(10)).size).toBe(1);
    });

    it("keeps connections that are open while their Service stays", async () => {
      await apply(web([a.endpoint]));
      const socket = connect({ host: rig.nodeAddress, port: nodePort, allowHalfOpen: true });
      await once(socket, "data");
      await apply(web([a.endpoint]), planService("default/shop", [planPort([b.endpoint], { nodePort: other })]));
      await apply(web([b.endpoint]));
      await apply(web([]));
      socket.end("still here");
      expect(await text(socket)).toBe("still here");
    });

    it("applies the same plan twice without harm", async () => {
      await apply(web([a.endpoint]));
      expect(await apply(web([a.endpoint]))).toEqual([]);
      expect(await ask()).toBe("a hello");
    });

    it("takes everything away on clear, and can begin again", async () => {
      await apply(web([a.endpoint]));
      await rig.executor.clear();
      expect(await ask()).toBe("refused");
      await apply(web([a.endpoint]));
      expect(await ask()).toBe("a hello");
    });
  });
}
