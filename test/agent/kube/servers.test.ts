// Several API servers, of which one is asked until it cannot be reached; and whom a pod asks without one of its own.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { kubeconfigAccess, podAccess } from "../../../agent/kube/access.ts";
import { KubeApi } from "../../../agent/kube/api.ts";
import { ScriptedApiServer } from "../source/kube/server.ts";

describe("several API servers", () => {
  let servers: ScriptedApiServer[];
  let api: KubeApi;
  beforeEach(async () => {
    servers = [1, 2, 3].map(() => new ScriptedApiServer());
    for (const server of servers) await server.start();
    const [first] = servers.map((server) => server.access());
    if (first === undefined) throw new Error("no server");
    api = new KubeApi({ ...first, servers: servers.flatMap((server) => server.access().servers) });
  });
  afterEach(async () => {
    await api.close();
    for (const server of servers) await server.stop();
  });
  const ask = async () => (await api.call("GET", "/api/v1/nodes")).kind;
  const asked = () => servers.map(({ seen }) => seen.length);

  it("are tried in turn, and one that answers is kept", async () => {
    expect([await ask(), await ask()]).toEqual(["ok", "ok"]);
    expect(asked()).toEqual([2, 0, 0]);
    await servers[0]?.stop();
    expect([await ask(), await ask(), await ask()]).toEqual(["unreachable", "ok", "ok"]);
    expect(asked()).toEqual([2, 2, 0]);
    await servers[0]?.start();
    for (const server of servers.slice(1)) await server.stop();
    expect([await ask(), await ask(), await ask()]).toEqual(["unreachable", "unreachable", "ok"]);
  });

  it("are turned once, however many calls fail together, and not by a call of before", async () => {
    const [first, second] = servers;
    if (first === undefined || second === undefined) throw new Error("no servers");
    first.instead = () => "hang";
    const late = ask();
    await vi.waitFor(() => expect(first.seen).toHaveLength(1));
    first.instead = () => "reset";
    await second.stop();
    expect(await Promise.all([ask(), ask(), ask()])).toEqual(["unreachable", "unreachable", "unreachable"]);
    expect([await ask(), await ask()]).toEqual(["unreachable", "ok"]);
    await first.stop();
    expect(await late).toBe("unreachable");
    expect(await ask()).toBe("ok");
  });
});

describe("a pod", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "postern-account-"));
    for (const file of ["token", "namespace", "ca.crt"]) await writeFile(join(folder, file), `the ${file}\n`);
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("has its own namespace, whatever the context of a kubeconfig says, as kubeadm's for kube-proxy does", async () => {
    const file = join(folder, "kubeconfig.conf");
    const config = {
      "current-context": "default",
      clusters: [{ name: "default", cluster: { server: "https://192.168.1.10:6443" } }],
      users: [{ name: "default", user: { tokenFile: join(folder, "token") } }],
      contexts: [{ name: "default", context: { cluster: "default", user: "default", namespace: "default" } }],
    };
    await writeFile(file, JSON.stringify(config));
    const inPod = kubeconfigAccess(file, folder);
    expect(inPod).toMatchObject({ namespace: "the namespace", installed: true });
    expect(podAccess({}, inPod.servers, folder)).toMatchObject({ namespace: "the namespace", installed: true });
    expect(kubeconfigAccess(file, "/nowhere")).toMatchObject({ namespace: "default", installed: false });
  });

  it("asks the address in its environment, or the servers that it was given, with its own account", () => {
    const inside = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
    expect(podAccess(inside, [], folder).servers.map(String)).toEqual(["https://10.96.0.1/"]);
    const given = podAccess({}, [new URL("https://192.168.1.10:6443")], folder);
    expect(given.servers.map(String)).toEqual(["https://192.168.1.10:6443/"]);
    expect([given.token(), given.tls().ca]).toEqual(["the token", "the ca.crt\n"]);
    expect(() => podAccess({}, [], folder)).toThrow(/KUBERNETES_SERVICE_HOST is not set/);
  });
});
