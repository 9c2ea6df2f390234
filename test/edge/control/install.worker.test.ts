// Joining by one `kubectl apply`: what an install code gives, how often, how long, and who may make and withdraw what came of
// it. Time is moved by the clock that the objects read.
import { createExecutionContext, evictAllDurableObjects, runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseAllDocuments } from "yaml";
import type { Env } from "../../../src/edge/env.ts";
import worker from "../../../src/edge/worker.ts";
import { installManifest } from "../../../src/edge/control/install-manifest.ts";
import {
  ADMIN,
  byAdminPort,
  type Call,
  type Problem,
  call,
  createCluster,
  forgetAll,
  snapshotOf,
} from "../worker/edge.ts";

afterEach(async () => {
  vi.restoreAllMocks();
  await forgetAll();
});

interface Code {
  readonly url: string;
  readonly command: string;
  readonly expiresAt: number;
  readonly uses: number;
}
interface Kube {
  readonly kind: string;
  readonly data?: Record<string, string>;
  readonly stringData?: Record<string, string>;
  readonly spec?: {
    template: { spec: { containers: { image: string }[]; initContainers?: { image: string; args: string[] }[] } };
  };
}

const NODE = "docker.io/library/node:24-slim";
/** Hashes of the texts "agent" and "probe". */
const AGENT = "d4f0bc5a29de06b510f9aa428f1eedba926012b591fef7a518e776a7c9bd1824";
const PROBE = "ba9c736f19e7f60b7f6764adb0b7908c0a2b394e09b6c09863528c7f2bc86095";
const FILES = [`main.mjs=${AGENT}`, `probe.mjs=${PROBE}`];

const at = "/api/v1/clusters/home";
let first: string;
beforeEach(async () => {
  first = await createCluster("home");
});

const makeCode = async (token: string = ADMIN, json?: object): Promise<Code> => {
  const response = await call("POST", `${at}/install-code`, { token, ...(json !== undefined && { json }) });
  expect(response.status).toBe(201);
  return await response.json<Code>();
};
/** As the listener proxy passes it on: what the URL's scheme is, is the proxy's word. */
const get = async (url: string, method = "GET"): Promise<Response> =>
  await exports.default.fetch(url, {
    method,
    headers: { ...byAdminPort, ...(url.startsWith("https:") && { "x-postern-proto": "https" }) },
  });
const objectsOf = (yaml: string): Kube[] => parseAllDocuments(yaml).map((document) => document.toJS() as Kube);
const install = async (url: string) => {
  const response = await get(url);
  expect(response.status).toBe(200);
  expect(response.headers.get("cache-control")).toBe("no-store");
  const objects = objectsOf(await response.text());
  const of = (kind: string) => objects.find((object) => object.kind === kind);
  const pod = of("DaemonSet")?.spec?.template.spec;
  return {
    settings: of("ConfigMap")?.data,
    token: of("Secret")?.stringData?.["token"] ?? "",
    image: pod?.containers[0]?.image,
    fetches: pod?.initContainers?.map(({ image, args }) => [image, ...args.slice(1)]),
  };
};
const statusWith = async (token: string) => (await call("GET", at, { token })).status;
const tokens = async () => {
  const { tokens: list } = await (await call("GET", `${at}/tokens`, { token: ADMIN })).json<{
    tokens: { id: string; createdAt: number; label: string; role: string }[];
  }>();
  return list;
};
const idOf = async (token: string): Promise<string> => {
  const verified = await env.CLUSTER.get(env.CLUSTER.idFromName("home")).verify(token);
  if (!verified.ok) throw new Error("no such token");
  return verified.tokenId;
};
const refused = async (response: Response) => [response.status, (await response.json<Problem>()).reason];

describe("an install code", () => {
  it("leads to the manifest with edge, cluster and a new token filled in", async () => {
    const code = await makeCode();
    expect(code.url).toMatch(/^https:\/\/admin\.test\/install\/psi_home_[A-Za-z0-9_-]{43}\.yaml$/);
    expect(code.command).toBe(`kubectl apply -f ${code.url}`);
    const { settings, token, image, fetches } = await install(code.url);
    expect(settings).toEqual({
      POSTERN_EDGE: "https://admin.test",
      POSTERN_CLUSTER: "home",
      POSTERN_INSECURE_PLAIN_HTTP: "false",
      POSTERN_TOKEN_FILE: "/run/secrets/postern/token",
    });
    expect(image).toBe(NODE);
    // The SHA-256 of what test/vitest.config.ts has in place of an agent.
    expect(fetches).toEqual([[NODE, "/agent", ...FILES]]);
    expect(token).not.toBe(first);
    expect([await statusWith(token), await statusWith(first)]).toEqual([200, 200]);
  });

  it("takes an image along", async () => {
    const image = "registry.test:5000/postern-agent@sha256:0123";
    expect(await install((await makeCode(ADMIN, { image })).url)).toMatchObject({ image, fetches: undefined });
  });

  it("takes a mirror of Node.js' image along, for both containers", async () => {
    const nodeImage = "registry.test:5000/node:24-slim";
    const made = await makeCode(ADMIN, { nodeImage });
    expect(await install(made.url)).toMatchObject({ image: nodeImage, fetches: [[nodeImage, "/agent", ...FILES]] });
  });

  it("does not lead to an agent that the edge does not have, and is not used up by the attempt", async () => {
    const { url } = await makeCode();
    const bare: Env = { ...env, ASSETS: { fetch: async () => new Response(null, { status: 404 }) } };
    const headers = { ...byAdminPort, "x-postern-proto": "https" };
    const logged = vi.spyOn(console, "error").mockImplementation(() => {});
    for (let attempt = 0; attempt < 6; attempt++) {
      const answer = await worker.fetch(new Request(url, { headers }), bare, createExecutionContext());
      expect(await refused(answer)).toEqual([500, "internal"]);
    }
    expect(logged).toHaveBeenCalledTimes(6);
    expect(String(logged.mock.calls[0])).not.toContain("psi_home_");
    await install(url);
  });

  it("is kept as a hash, and survives an eviction", async () => {
    const { url } = await makeCode();
    await runInDurableObject(env.CLUSTER.get(env.CLUSTER.idFromName("home")), (_, { storage }) => {
      const rows = JSON.stringify(storage.sql.exec("SELECT *, hex(hash) AS hash FROM install_code").toArray());
      expect(rows).toMatch(/[0-9A-F]{64}/);
      expect(rows).not.toContain(/psi_home_([A-Za-z0-9_-]{43})/.exec(url)?.[1]);
    });
    await evictAllDurableObjects();
    await install(url);
  });

  it("may be used five times, for a token each", async () => {
    const { url, uses } = await makeCode();
    expect(uses).toBe(5);
    const minted = new Set<string>();
    for (let use = 0; use < uses; use++) minted.add((await install(url)).token);
    expect(minted.size).toBe(5);
    expect(await refused(await get(url))).toEqual([404, "unknown-install-code"]);
  });

  it("is not used up by a look at it: HEAD", async () => {
    const { url, uses } = await makeCode();
    for (let look = 0; look < uses; look++) expect((await get(url, "HEAD")).status).toBe(404);
    await install(url);
  });

  it.each([
    ["just before", 15 * 60_000 - 1, 200],
    ["after", 15 * 60_000, 404],
  ])("lasts 15 minutes: %s", async (_, later, status) => {
    const now = Date.now();
    const clock = vi.spyOn(Date, "now").mockReturnValue(now);
    const { url, expiresAt } = await makeCode();
    expect(expiresAt).toBe(now + 15 * 60_000);
    clock.mockReturnValue(now + later);
    expect((await get(url)).status).toBe(status);
  });

  it("does not cross the network in the clear, and is not used up by the attempt", async () => {
    const { url } = await makeCode();
    const plain = url.replace("https:", "http:");
    for (let attempt = 0; attempt < 6; attempt++)
      expect(await refused(await get(plain))).toEqual([400, "https-needed"]);
    await install(url);
  });

  it("comes behind a TLS proxy that the listener proxy trusts, under the URL that the edge's owner gave", async () => {
    const own: Env = { ...env, ADMIN_HOST: "postern.example.net", PUBLIC_URL: "https://postern.example.net" };
    const ask = async (method: string, path: string, headers: Record<string, string>) => {
      const context = createExecutionContext();
      return await worker.fetch(
        new Request(`http://postern.example.net${path}`, { method, headers: { ...byAdminPort, ...headers } }),
        own,
        context,
      );
    };
    const made = await ask("POST", `${at}/install-code`, { authorization: `Bearer ${ADMIN}` });
    const { url, command } = await made.json<Code>();
    expect(command).toMatch(/^kubectl apply -f https:\/\/postern\.example\.net\/install\/psi_home_/);
    const { pathname } = new URL(url);
    expect(await refused(await ask("GET", pathname, {}))).toEqual([400, "https-needed"]);
    const manifest = await ask("GET", pathname, { "x-postern-proto": "https" });
    expect([manifest.status, await manifest.text()]).toEqual([
      200,
      expect.stringContaining('POSTERN_EDGE: "https://postern.example.net"'),
    ]);
    const tunnel = await ask("GET", `${at}/tunnel/0`, {
      "x-postern-proto": "https",
      authorization: `Bearer ${first}`,
      upgrade: "websocket",
    });
    expect(tunnel.status).toBe(101);
    tunnel.webSocket?.accept();
    tunnel.webSocket?.close();
  });

  it.each([
    ["wrong", `psi_home_${"A".repeat(43)}`],
    ["of no cluster", `psi_absent_${"A".repeat(43)}`],
    ["malformed", "psi_home_short"],
    ["a token", `pst_home_${"A".repeat(43)}`],
  ])("that is %s says no more than that", async (_, code) => {
    await makeCode();
    const response = await get(`https://admin.test/install/${code}.yaml`);
    expect(response.status).toBe(404);
    const { requestId: _id, ...problem } = await response.json<Problem>();
    expect(problem).toMatchObject({
      reason: "unknown-install-code",
      detail: "this install code is wrong, used up or older than 15 minutes",
    });
  });

  it("is one of at most twenty that wait", async () => {
    for (let made = 0; made < 20; made++) await makeCode();
    expect(await refused(await call("POST", `${at}/install-code`, { token: ADMIN }))).toEqual([429, "too-many-codes"]);
  });

  it("mints no more than fifty tokens a cluster", async () => {
    const codes: string[] = [];
    for (let made = 0; made < 10; made++) codes.push((await makeCode()).url);
    // One exists already.
    for (let minted = 1; minted < 50; minted++) await install(codes[Math.floor(minted / 5)] ?? "");
    expect(await refused(await get(codes[0] ?? ""))).toEqual([409, "too-many-tokens"]);
  });

  it.each([
    ["an image with a line break", { image: "a\nb" }],
    ["a typo", { imgae: "a" }],
    ["a mirror of Node.js beside an image that needs none", { image: "a", nodeImage: "b" }],
  ])("refuses %s", async (_, json) => {
    expect((await call("POST", `${at}/install-code`, { token: ADMIN, json })).status).toBe(400);
  });
});

describe("several tokens", () => {
  it("are listed by id, with where they came from, never themselves", async () => {
    const { token: second } = await install((await makeCode()).url);
    const { token: third } = await install((await makeCode(first)).url);
    const list = await tokens();
    const labels = ["first", "install code of the admin", `install code of token ${await idOf(first)}`];
    const ids = await Promise.all([first, second, third].map(idOf));
    expect(new Map(list.map(({ id, label }) => [id, label]))).toEqual(
      new Map(ids.map((id, index) => [id, labels[index]])),
    );
    expect(list.map(({ role }) => role).sort()).toEqual(["agent", "agent", "owner"]);
    for (const token of [first, second, third]) expect(JSON.stringify(list)).not.toContain(token.slice(9));
  });

  it("are rotated one at a time: the one that asks, or the one that the admin names", async () => {
    const { token: second } = await install((await makeCode()).url);
    const rotate = async (token: string, query = "") => await call("POST", `${at}/token${query}`, { token });
    const { token: newer } = await (await rotate(second)).json<{ token: string }>();
    expect(await Promise.all([first, second, newer].map(statusWith))).toEqual([200, 401, 200]);

    expect(await refused(await rotate(ADMIN))).toEqual([409, "several-tokens"]);
    expect((await rotate(ADMIN, `?token=${await idOf(newer)}`)).status).toBe(200);
    expect(await Promise.all([first, newer].map(statusWith))).toEqual([200, 401]);
    expect(await refused(await rotate(ADMIN, "?token=00000000"))).toEqual([404, "no-such-token"]);
    expect((await tokens()).map(({ label }) => label).sort()).toEqual(["first", "install code of the admin"]);
  });

  it("are revoked one at a time, with all that came of them: codes, and the tokens that those minted", async () => {
    const { token: others } = await install((await makeCode()).url);
    const [used, waiting, admins] = [await makeCode(first), await makeCode(first), await makeCode()];
    const { token: child } = await install(used.url);
    const path = `${at}/tokens/${await idOf(first)}`;
    const dialled = await call("GET", `${at}/tunnel/0`, { token: child, headers: { upgrade: "websocket" } });
    const closed = new Promise<number>((resolve) =>
      dialled.webSocket?.addEventListener("close", ({ code }) => resolve(code)),
    );
    dialled.webSocket?.accept();
    expect((await call("DELETE", path, { token: ADMIN })).status).toBe(204);
    expect(await Promise.all([first, child, others].map(statusWith))).toEqual([401, 401, 200]);
    expect(await closed).toBe(4001);
    for (const { url } of [used, waiting]) expect((await get(url)).status).toBe(404);
    expect((await get(admins.url)).status).toBe(200);
    expect(await refused(await call("DELETE", path, { token: ADMIN }))).toEqual([404, "no-such-token"]);
  });

  it("that came of one that was rotated stay, and go with the new one", async () => {
    const { token: child } = await install((await makeCode(first)).url);
    const waiting = await makeCode(first);
    const { token: newer } = await (await call("POST", `${at}/token`, { token: first })).json<{ token: string }>();
    expect(await Promise.all([first, newer, child].map(statusWith))).toEqual([401, 200, 200]);
    expect((await get(waiting.url)).status).toBe(404);
    expect((await tokens()).map(({ label }) => label)).toContain(`install code of token ${await idOf(newer)}`);
    expect((await call("DELETE", `${at}/tokens/${await idOf(newer)}`, { token: ADMIN })).status).toBe(204);
    expect(await statusWith(child)).toBe(401);
  });

  it("of the version before, which let agents' tokens make others, go with those, too", async () => {
    const [parent, child] = [await install((await makeCode()).url), await install((await makeCode()).url)];
    const [parentId, childId] = [await idOf(parent.token), await idOf(child.token)];
    await runInDurableObject(env.CLUSTER.get(env.CLUSTER.idFromName("home")), (_, { storage }) => {
      storage.sql.exec("ALTER TABLE token DROP COLUMN role");
      storage.sql.exec("ALTER TABLE token DROP COLUMN made_by");
      storage.sql.exec("ALTER TABLE install_code DROP COLUMN node_image");
      storage.sql.exec("UPDATE token SET label = ? WHERE id = ?", `install code of token ${parentId}`, childId);
      storage.sql.exec("UPDATE schema SET version = version - 2");
    });
    await evictAllDurableObjects();
    expect(new Map((await tokens()).map(({ id, role }) => [id, role]))).toEqual(
      new Map([parentId, childId, await idOf(first)].map((id, at) => [id, at < 2 ? "agent" : "owner"])),
    );
    expect((await call("DELETE", `${at}/tokens/${parentId}`, { token: first })).status).toBe(204);
    expect(await Promise.all([first, parent.token, child.token].map(statusWith))).toEqual([200, 401, 401]);
  });
});

describe("an agent's token", () => {
  const put: Call = { json: { members: [{ cluster: "home" }] } };
  /** [what it may do, method, path below the cluster, request, status] */
  it.each<readonly [string, string, string, Call, number]>([
    ["see its cluster", "GET", "", {}, 200],
    ["read the table", "GET", "/table", {}, 200],
    ["read the nodes", "GET", "/nodes", {}, 200],
    ["read the endpoints", "GET", "/endpoints", {}, 200],
    ["read the conditions", "GET", "/conditions", {}, 200],
    ["ask for an epoch", "POST", "/epoch", {}, 200],
    ["start the epochs again", "POST", "/epoch?reset=true", {}, 403],
    ["publish", "PUT", "/snapshot", { json: snapshotOf(), headers: { "postern-generation": "1.1" } }, 200],
    ["dial", "GET", "/tunnel/0", { headers: { upgrade: "websocket" } }, 101],
    ["rotate itself", "POST", "/token", {}, 200],
    ["rotate another", "POST", "/token?token=00000000", {}, 403],
    ["list the tokens", "GET", "/tokens", {}, 403],
    ["revoke one", "DELETE", "/tokens/00000000", {}, 403],
    ["make an install code", "POST", "/install-code", { json: { image: "attacker.example/agent:1" } }, 403],
    ["list who serves a name", "PUT", "/../../hostnames/web-default-home.edge.test", put, 403],
    ["delete the cluster", "DELETE", "", {}, 403],
  ])("may it %s?", async (_, method, path, request, status) => {
    const { token } = await install((await makeCode()).url);
    const response = await call(method, `${at}${path}`, { ...request, token });
    expect(response.status).toBe(status);
    response.webSocket?.accept();
    response.webSocket?.close(1000);
    await response.body?.cancel();
  });

  it("rotates itself by its own id as well, and stays an agent's", async () => {
    const { token } = await install((await makeCode()).url);
    const rotated = await call("POST", `${at}/token?token=${await idOf(token)}`, { token });
    const { token: newer } = await rotated.json<{ token: string }>();
    expect(await Promise.all([token, newer].map(statusWith))).toEqual([401, 200]);
    expect((await call("GET", `${at}/tokens`, { token: newer })).status).toBe(403);
  });
});

describe("behind a trusted proxy", () => {
  const ask = async (more: Record<string, string>): Promise<string> => {
    const response = await call("POST", `${at}/install-code`, { token: ADMIN, headers: more });
    return (await response.json<Code>()).url.replace(/psi_.*/, "");
  };

  it.each([
    [
      "https, by the proxy's name",
      { host: "edge.example.com", "x-postern-proto": "https", "x-postern-trusted": "1" },
      "https://edge.example.com/install/",
    ],
    [
      "http on a network of one's own",
      { host: "10.0.0.7:81", "x-postern-trusted": "1" },
      "http://10.0.0.7:81/install/",
    ],
    [
      "http on the Internet is not for tokens",
      { host: "edge.example.com", "x-postern-trusted": "1" },
      "https://edge.example.com/install/",
    ],
    ["a Host that is none", { host: "a/b", "x-postern-trusted": "1" }, "https://admin.test/install/"],
    ["a proxy that nobody trusts", { host: "evil.example.com" }, "https://admin.test/install/"],
  ])("%s", async (_, headers, url) => {
    expect(await ask(headers)).toBe(url);
  });
});

describe("the manifest", () => {
  it.each([
    ["quotes", 'a"\n  evil: "b'],
    ["a dollar", "$& $1"],
    ["a comment", "a # b: c"],
    ["line separators", "a\u2028b\u0085c\td"],
  ])("holds values with %s as they are", (_, value) => {
    const yaml = installManifest({ edge: value, cluster: "home", token: value, agent: { image: value }, options: {} });
    const objects = objectsOf(yaml);
    expect(objects.find(({ kind }) => kind === "ConfigMap")?.data?.["POSTERN_EDGE"]).toBe(value);
    expect(objects.find(({ kind }) => kind === "Secret")?.stringData).toEqual({ token: value });
    expect(objects.find(({ kind }) => kind === "DaemonSet")?.spec?.template.spec.containers[0]?.image).toBe(value);
  });

  it("allows plain http where the edge is spoken to so", () => {
    const [settings] = objectsOf(
      installManifest({
        edge: "http://10.90.0.1:8787",
        cluster: "home",
        token: "t",
        agent: { image: "a" },
        options: {},
      }),
    ).filter(({ kind }) => kind === "ConfigMap");
    expect(settings?.data).toMatchObject({ POSTERN_INSECURE_PLAIN_HTTP: "true" });
  });
});
