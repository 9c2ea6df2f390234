// The userspace executor: the contract's table, and what is its own: retries, limits, problems that it names.
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Executor } from "../../../../agent/dataplane/executor.ts";
import { Backends } from "../../../../agent/endpoints/endpoints.ts";
import { userspaceExecutor } from "../../../../agent/dataplane/userspace/executor.ts";
import { freePort } from "../../../../src/host/process/free-port.ts";
import { executorConformance } from "../conformance.ts";
import { plan, planEndpoint, planPort, planService } from "../plans.ts";

executorConformance("userspace", async () => ({
  executor: userspaceExecutor({ address: "127.0.0.1", backends: new Backends() }),
  nodeAddress: "127.0.0.1",
  podAddress: "127.0.0.1",
  dispose: async () => undefined,
}));

describe("userspace", () => {
  let backends: Backends;
  let executor: Executor;
  let servers: Server[];
  beforeEach(() => {
    backends = new Backends();
    executor = userspaceExecutor({ address: "127.0.0.1", backends });
    servers = [];
  });
  afterEach(async () => {
    await executor.clear();
    for (const server of servers) server.close();
  });
  const listen = async (onConnection: (socket: Socket) => void): Promise<number> => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => undefined);
      onConnection(socket);
    });
    servers.push(server);
    await once(server.listen(0, "127.0.0.1"), "listening");
    return (server.address() as { port: number }).port;
  };
  const dial = (port: number) => connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  const web = (ports: readonly number[], nodePort: number) =>
    plan(
      planService("default/web", [
        planPort(
          ports.map((port) => planEndpoint("127.0.0.1", port)),
          { nodePort },
        ),
      ]),
    );

  it("tries the next endpoint where one refuses, and reports the one that keeps refusing", async () => {
    const [dead, alive, nodePort] = [await freePort(), await listen((socket) => socket.end("alive")), await freePort()];
    let told = 0;
    backends.onProblems(() => told++);
    await executor.apply(web([dead, alive], nodePort));
    for (let i = 0; i < 8; i++) expect(await text(dial(nodePort))).toBe("alive");
    expect(backends.problems()).toEqual([
      {
        endpoint: `default/web 127.0.0.1:${dead}`,
        reason: "failed 3 times in a row or more, the last: connection refused",
      },
    ]);
    expect(told).toBe(1);
  });

  it("resets where every endpoint refuses", async () => {
    const [dead, nodePort] = [await freePort(), await freePort()];
    await executor.apply(web([dead], nodePort));
    await expect(text(dial(nodePort))).rejects.toMatchObject({ code: "ECONNRESET" });
  });

  it("never makes a cut answer look whole", async () => {
    const pod = await listen((socket) => socket.write("half", () => socket.resetAndDestroy()));
    const nodePort = await freePort();
    await executor.apply(web([pod], nodePort));
    await expect(text(dial(nodePort))).rejects.toMatchObject({ code: "ECONNRESET" });
  });

  it("tells the endpoint when the client breaks off", async () => {
    let podSocket: Socket | undefined;
    const pod = await listen((socket) => {
      podSocket = socket;
      socket.write("hello");
      socket.resume();
    });
    const nodePort = await freePort();
    await executor.apply(web([pod], nodePort));
    const client = dial(nodePort);
    await once(client, "data");
    const closed = new Promise((resolve) => podSocket?.once("close", resolve));
    client.resetAndDestroy();
    await closed;
    expect(backends.problems()).toEqual([]);
  });

  it("holds a sender back while its reader does not read", async () => {
    let sent = 0;
    const pod = await listen((socket) => {
      const chunk = Buffer.alloc(64 * 1024);
      const push = () => {
        while (!socket.destroyed) {
          sent += chunk.length;
          if (!socket.write(chunk)) break;
        }
      };
      socket.on("drain", push);
      push();
    });
    const nodePort = await freePort();
    await executor.apply(web([pod], nodePort));
    const client = dial(nodePort);
    await once(client, "connect");
    client.pause();
    // Until nothing moves any more: the kernel's socket buffers are full on both legs, which no event tells.
    let before = -1;
    while (sent !== before) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(sent).toBeLessThan(32 * 1024 * 1024);
    client.destroy();
  });

  it("cuts the connections of a Service that is gone", async () => {
    const pod = await listen((socket) => socket.write("hello"));
    const nodePort = await freePort();
    await executor.apply(web([pod], nodePort));
    const client = dial(nodePort);
    await once(client, "data");
    const broken = once(client, "error");
    await executor.apply(plan());
    expect((await broken)[0]).toMatchObject({ code: "ECONNRESET" });
  });

  it("names a NodePort that it cannot open, and opens it when it can", async () => {
    const pod = await listen((socket) => socket.end("alive"));
    const taken = await listen(() => undefined);
    expect((await executor.apply(web([pod], taken))).problems).toEqual([
      {
        service: "default/web",
        reason: "NodePortNotOpened",
        message: `NodePort ${taken} cannot be opened on 127.0.0.1: another process listens there. Stop it, or choose another nodePort; it is tried again until then`,
      },
    ]);
    await new Promise((resolve) => servers.pop()?.close(resolve));
    expect((await executor.apply(web([pod], taken))).problems).toEqual([]);
    expect(await text(dial(taken))).toBe("alive");
  });

  it("says what it cannot do", async () => {
    const pod = planEndpoint("127.0.0.1", await listen((socket) => socket.end("alive")));
    const [tcp, udp] = [await freePort(), await freePort()];
    const { problems } = await executor.apply(
      plan(
        planService("default/a", [planPort([pod], { nodePort: tcp })], { algorithm: "sed" }),
        planService("default/b", [
          planPort([pod], { nodePort: tcp }),
          planPort([pod], { nodePort: udp, port: 53, protocol: "UDP" }),
        ]),
      ),
    );
    expect(problems.map(({ service, reason }) => `${service} ${reason}`)).toEqual([
      "default/a EndpointAlgorithmNotSupported",
      "default/b NodePortConflict",
      "default/b ProtocolNotSupported",
    ]);
    expect(await text(dial(tcp))).toBe("alive");
  });

  it("keeps count of what is in flight", async () => {
    const pod = await listen((socket) => socket.write("hello"));
    const nodePort = await freePort();
    await executor.apply(web([pod], nodePort));
    const [endpoint] = backends.find("default/web", 80)?.order("", 0) ?? [];
    const client = dial(nodePort).on("error", () => undefined);
    await once(client, "data");
    expect(endpoint?.inFlight).toBe(1);
    await executor.clear();
    await vi.waitFor(() => expect(endpoint?.inFlight).toBe(0));
  });
});
