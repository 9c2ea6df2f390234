// The main job as its user sees it: one command, real sockets, edits and kills while requests run.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { commandOf, descendants, Emulation, get, isAlive, load, until } from "./emulation.ts";

let emulation: Emulation | undefined;
afterEach(async () => {
  await emulation?.stop();
  emulation = undefined;
});
async function start(edit?: (yaml: string) => string): Promise<Emulation> {
  emulation = await Emulation.start(edit);
  return emulation;
}

test("one command: URLs that answer, ports that are open, an API that lets the token's bearer in, and nothing left", async () => {
  const running = await start();
  const { ready } = running;
  expect(ready.urls).toEqual([
    "http://web-default-home.localhost:18888/",
    "http://web-direct-default-home.localhost:18889/",
  ]);
  expect(ready.nodes.map(({ name, address }) => [name, address])).toEqual([
    ["node-a", "127.0.7.1"],
    ["node-b", "127.0.7.2"],
  ]);
  expect(ready.pods.map(({ name, address, port }) => [name, address, port])).toEqual([
    ["web-1", "127.1.7.1", 18_081],
    ["web-2", "127.1.7.2", 18_082],
  ]);
  for (const each of ready.urls) {
    const { status, body, headers } = await get(new URL(each));
    expect([status, body]).toEqual([
      200,
      headers["x-pod"] === "web-1" ? "web-1 on node-a: GET /\n" : "web-2 on node-b: GET /\n",
    ]);
  }
  for (const host of ["127.0.0.1", "::1"]) {
    const socket = connect(18_888, host);
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    socket.destroy();
  }

  expect(statSync(ready.api.tokenFile).mode & 0o777).toBe(0o600);
  const authorization = `Bearer ${readFileSync(ready.api.tokenFile, "utf8").trim()}`;
  const clusters = await fetch(`${ready.api.url}/api/v1/clusters`, { headers: { authorization } });
  expect([clusters.status, JSON.stringify(await clusters.json())]).toEqual([200, expect.stringContaining('"home"')]);
  expect((await fetch(`${ready.api.url}/api/v1/clusters`)).status).toBe(401);

  const processes = descendants(running.npmPid);
  // npm, supervisor, edge, two workerd, bundler, two agents, two pods
  expect(processes.length).toBeGreaterThanOrEqual(8);
  for (const pid of processes) expect(commandOf(pid)).not.toContain(authorization.slice(7));
  await running.stop();
  expect(processes.filter(isAlive)).toEqual([]);
});

test("broken files are named and the rest is served; a Service that refuses this machine holds nothing up; one run a folder", async () => {
  const broken = "a: {{ x }}\n- b";
  const closed = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "closed", namespace: "default" },
    spec: {
      type: "LoadBalancer",
      loadBalancerClass: "postern.dev/edge",
      loadBalancerSourceRanges: ["10.0.0.0/8"],
      ports: [
        { name: "http", port: 18_890, targetPort: 18_081, protocol: "TCP" },
        { name: "https", port: 443, targetPort: 18_081, protocol: "TCP" },
      ],
    },
  };
  const slice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "closed-1", namespace: "default", labels: { "kubernetes.io/service-name": "closed" } },
    addressType: "IPv4",
    ports: [
      { name: "http", port: 18_081, protocol: "TCP" },
      { name: "https", port: 18_081, protocol: "TCP" },
    ],
    endpoints: [{ addresses: ["127.1.7.1"], nodeName: "node-a", conditions: { ready: true } }],
  };
  const begun = performance.now();
  emulation = await Emulation.start(undefined, {
    ".git/x.yaml": broken,
    "broken.yaml": broken,
    "closed.yaml": [closed, slice].map((object) => JSON.stringify(object)).join("\n---\n"),
  });
  const running = emulation;
  expect(performance.now() - begun).toBeLessThan(60_000);
  expect(running.said).toMatch(/^broken\.yaml:2: not YAML: /m);
  expect(running.said).not.toContain(".git");
  expect(running.said).toMatch(
    /closed-default-home\.localhost:18890\/ does not serve this machine: 403 .*source-refused/,
  );
  expect((await get(running.url("web"))).status).toBe(200);

  // Nothing listens on 443 here, and it is said so.
  const authorization = `Bearer ${readFileSync(running.ready.api.tokenFile, "utf8").trim()}`;
  const at = `${running.ready.api.url}/api/v1/clusters/home`;
  const { services } = (await (await fetch(`${at}/conditions`, { headers: { authorization } })).json()) as {
    services: Record<string, { type: string; message: string; ports?: number[] }[]>;
  };
  const of = (type: string) => services["default/closed"]?.find((each) => each.type === `postern.dev/${type}`);
  expect(of("Programmed")?.message).toBe("Served at closed-default-home.localhost on ports 18890.");
  expect(of("PortNotOffered")).toMatchObject({ ports: [443], message: expect.stringContaining("--trusted-proxy") });
  expect(await (await fetch(`${at}/table`, { headers: { authorization } })).text()).not.toContain('"tls":true');

  // A node that is new in the YAML is started, the broken file notwithstanding.
  running.edit("nodes.yaml", (yaml) => {
    const [first = ""] = yaml.split("---\n");
    return `${yaml}---\n${first.replaceAll("node-a", "node-c").replaceAll("127.0.7.1", "127.0.7.3")}`;
  });
  await expect.poll(() => running.said, { timeout: 10_000 }).toContain("Node node-c is new in the YAML: started");

  const second = spawn("npm", ["start", "--silent", "--", "--json", "--manifests", running.ready.manifests], {
    cwd: new URL("../..", import.meta.url).pathname,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [said, [code]] = await Promise.all([text(second.stderr), once(second, "exit")]);
  expect([code, said]).toEqual([
    1,
    expect.stringMatching(new RegExp(`^${running.ready.manifests} is in use by another demo \\(pid \\d+, since `)),
  ]);
  expect((await get(running.url("web"))).status).toBe(200);
});

describe("no request fails while", () => {
  test.each([
    ["a node is killed", "SIGKILL", "node-b"],
    ["a node loses its power", "SIGSTOP", "node-b"],
  ] as const)("%s", async (_, signal, name) => {
    const running = await start();
    const { answers, failures } = await load(running.url("web"), 150, async () => {
      await delay(1_000);
      process.kill(running.node(name).pid, signal);
      await delay(5_000);
    });
    expect(failures).toEqual([]);
    expect(answers).toBeGreaterThan(500);
  });

  test("a pod is killed, by tunnel", async () => {
    const running = await start();
    const { failures, last } = await load(running.url("web"), 150, async () => {
      await delay(1_000);
      process.kill(running.pod("web-2").pid, "SIGKILL");
      await delay(3_000);
    });
    expect(failures).toEqual([]);
    expect(last).toEqual(new Set(["web-1"]));
    expect(running.said).toContain("Pod web-2 was killed (SIGKILL). It stays so; start it again with:");
  });

  test.each([
    ["a pod is killed, by direct transport", "web-2"],
    ["a node is killed, by direct transport", "node-b"],
  ])("%s", async (_, name) => {
    const running = await start();
    const { pid } = name.startsWith("node") ? running.node(name) : running.pod(name);
    const { failures } = await load(running.url("web-direct"), 150, async () => {
      await delay(1_000);
      process.kill(pid, "SIGKILL");
      await delay(3_000);
    });
    expect(failures).toEqual([]);
  });
});

test("edits of the YAML are in force within seconds", async () => {
  const running = await start();
  const web = running.url("web");

  // A bad edit: named, and the last good state serves on.
  running.edit("web.yaml", (yaml) => yaml.replace("port: 18888", "port: many"));
  await expect.poll(() => running.said, { timeout: 10_000 }).toMatch(/web\.yaml:\d+/);
  expect((await get(web)).status).toBe(200);
  running.edit("web.yaml", (yaml) => yaml.replace("port: many", "port: 18888"));

  // No endpoint ready: refused, with the reason. And back.
  running.edit("web.yaml", (yaml) => yaml.replaceAll("ready: true, serving: true", "ready: false, serving: false"));
  await until(web, 503, /no-endpoints/);
  running.edit("web.yaml", (yaml) => yaml.replaceAll("ready: false, serving: false", "ready: true, serving: true"));
  await until(web, 200, /web-/);

  // Scaled to zero: the slices and their pods are gone. And back.
  let slices = "";
  running.edit("web.yaml", (yaml) => {
    const [service = "", ...rest] = yaml.split("---\n");
    slices = ["", ...rest].join("---\n");
    return service;
  });
  await until(web, 503, /no-endpoints/);
  await expect.poll(() => isAlive(running.pod("web-1").pid), { timeout: 10_000 }).toBe(false);
  running.edit("web.yaml", (yaml) => yaml + slices);
  await until(web, 200, /web-/);

  // Another port: opens, serves, closes.
  const other = new URL(web);
  other.port = "18890";
  running.edit("web.yaml", (yaml) =>
    yaml.replace(
      "  ports:\n    - name: http\n",
      "  ports:\n    - { name: more, port: 18890, targetPort: http, protocol: TCP }\n    - name: http\n",
    ),
  );
  running.edit("web.yaml", (yaml) =>
    yaml
      .replaceAll(
        "ports:\n  - name: http\n    port: 18081\n",
        "ports:\n  - { name: more, port: 18081, protocol: TCP }\n  - name: http\n    port: 18081\n",
      )
      .replaceAll(
        "ports:\n  - name: http\n    port: 18082\n",
        "ports:\n  - { name: more, port: 18082, protocol: TCP }\n  - name: http\n    port: 18082\n",
      ),
  );
  await until(other, 200, /web-/);
  running.edit("web.yaml", (yaml) => yaml.replace(/    - \{ name: more.*\n/, ""));
  await until(other, 0, /ECONNREFUSED/);

  // A third node joins and serves; a deleted Service is gone.
  running.edit("nodes.yaml", (yaml) => {
    const [first = ""] = yaml.split("---\n");
    return `${yaml}---\n${first.replaceAll("node-a", "node-c").replaceAll("127.0.7.1", "127.0.7.3")}`;
  });
  await expect.poll(() => running.said, { timeout: 10_000 }).toContain("Node node-c is new in the YAML: started");
  running.edit("web-direct.yaml", () => "");
  await until(running.url("web-direct"), 0, /ECONNREFUSED/);
  expect((await get(web)).status).toBe(200);
});
