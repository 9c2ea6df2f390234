// Which Service ports nobody listens at: against real sockets, and with a scripted network, by the clock that the test sets,
// where it must fail in steps.
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Listening } from "../../../agent/health/listening.ts";
import type { ProbeTcp } from "../../../agent/net/probe-tcp.ts";
import { buildSnapshot } from "../../../agent/plan/snapshot.ts";
import { endpoint, service, slice, type Written } from "../source/objects.ts";
import { observe } from "../plan/observe.ts";

const servers: Server[] = [];
let listening: Listening | undefined;
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  listening?.stop();
});

const options = {
  defaultClass: false,
  allowExternalName: [],
  clusterDomain: "cluster.local",
  ignoreExcludeLabel: false,
  endpointAlgorithms: [],
};
const snapshot = (...objects: readonly Written[]) => buildSnapshot(observe(...objects), options).services;
/** A Service whose endpoints are at that port. */
const at = (port: number, ...addresses: string[]) =>
  snapshot(
    service("web"),
    slice(
      "web",
      addresses.map((address) => endpoint(address)),
      { ports: [{ name: "", port }] },
    ),
  );
const again = { soonMs: 5, laterMs: 5 };
const start = (probe?: ProbeTcp) => {
  const onChange = vi.fn<() => void>();
  listening = new Listening({ onChange, again, ...(probe === undefined ? {} : { probe }) });
  return { watcher: listening, onChange };
};
async function open(port = 0): Promise<number> {
  const server = createServer().listen(port, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
async function close(): Promise<void> {
  const server = servers.pop();
  server?.close();
  if (server !== undefined) await once(server, "close");
}

it("says at which port nobody listens, and takes it back when somebody does", async () => {
  const port = await open();
  await close();
  const { watcher, onChange } = start();
  watcher.watch(at(port, "127.0.0.1"));
  await vi.waitFor(() => expect(watcher.silent).toEqual(new Map([["default/web", [80]]])));
  expect(onChange).toHaveBeenCalledTimes(1);
  await open(port);
  await vi.waitFor(() => expect(watcher.silent).toEqual(new Map()));
  expect(onChange).toHaveBeenCalledTimes(2);
});

it("takes it back at once when the Service goes another way", async () => {
  const port = await open();
  await close();
  const { watcher, onChange } = start();
  watcher.watch(at(port, "127.0.0.1"));
  await vi.waitFor(() => expect(watcher.silent.size).toBe(1));
  watcher.watch(at(await open(), "127.0.0.1"));
  expect(watcher.silent.size).toBe(0);
  await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(2));
});

describe("in a scripted network", () => {
  /** Long enough for everybody to be asked again, and again. */
  const AGES = 100 * again.laterMs;
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it.each<[string, Record<string, Awaited<ReturnType<ProbeTcp>>>, boolean, string[]]>([
    ["one accepts: the others are not asked", { "10.0.0.1": "accepts" }, false, ["10.0.0.1"]],
    ["the second accepts", { "10.0.0.1": "refuses", "10.0.0.2": "accepts" }, false, ["10.0.0.1", "10.0.0.2"]],
    ["one cannot be told", { "10.0.0.1": "refuses", "10.0.0.2": "unclear" }, false, ["10.0.0.1", "10.0.0.2"]],
  ])("%s", async (_what, answers, expected, asked) => {
    const probe = vi.fn<ProbeTcp>((address) => Promise.resolve(answers[address] ?? "refuses"));
    const { watcher } = start(probe);
    watcher.watch(at(8080, "10.0.0.1", "10.0.0.2", "10.0.0.3"));
    await vi.advanceTimersByTimeAsync(AGES);
    expect(watcher.silent.size > 0).toBe(expected);
    expect(probe.mock.calls.map(([address]) => address)).toEqual(asked);
  });

  it("believes a refusal only when it is repeated", async () => {
    const probe = vi
      .fn<ProbeTcp>()
      .mockResolvedValueOnce("refuses")
      .mockResolvedValueOnce("refuses")
      .mockResolvedValue("accepts");
    const { watcher, onChange } = start(probe);
    watcher.watch(at(8080, "10.0.0.1"));
    await vi.advanceTimersByTimeAsync(AGES);
    expect(onChange).not.toHaveBeenCalled();
    expect(probe).toHaveBeenCalledTimes(3);
  });

  it("asks nobody again while the same endpoints come and go beside one that accepted", async () => {
    const probe = vi.fn<ProbeTcp>().mockResolvedValue("accepts");
    const { watcher } = start(probe);
    watcher.watch(at(8080, "10.0.0.1"));
    await vi.advanceTimersByTimeAsync(0);
    expect(probe).toHaveBeenCalledTimes(1);
    watcher.watch(at(8080, "10.0.0.1", "10.0.0.2"));
    watcher.watch(at(8080, "10.0.0.1"));
    await vi.advanceTimersByTimeAsync(AGES);
    expect(probe).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("leaves alone what is not ready, another protocol, or a name", async () => {
    const probe = vi.fn<ProbeTcp>().mockResolvedValue("refuses");
    const { watcher } = start(probe);
    watcher.watch(
      snapshot(
        service("web"),
        slice("web", [endpoint("10.0.0.1", "n1", { ready: false })]),
        service("dns", { ports: [{ port: 53, protocol: "UDP" }] }),
        slice("dns", [endpoint("10.0.0.2")], { ports: [{ name: "", port: 53, protocol: "UDP" }] }),
      ),
    );
    await vi.advanceTimersByTimeAsync(AGES);
    expect(probe).not.toHaveBeenCalled();
  });
});
