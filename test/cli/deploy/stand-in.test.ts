// The stand-in for Cloudflare's API holds what it is given, forgets nothing, and lets nobody do what his token may not; and what
// `postern deploy` reads of it.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Cloudflare } from "../../../cli/deploy/cloudflare.ts";
import { sendByHttp } from "../../../src/host/send.ts";
import { ACCOUNT, CloudflareStandIn } from "./stand-in.ts";

let api: CloudflareStandIn;
beforeEach(async () => {
  api = await CloudflareStandIn.start();
  api.tokens.set("all", new Set(["account", "scripts", "routes", "dns"]));
  api.zones.set("example.net", "zone1");
});
afterEach(() => api.stop());

const of = `/accounts/${ACCOUNT}/workers`;

async function call(method: string, path: string, body: string | FormData | null = null, token = "all") {
  const response = await fetch(`${api.url}${path}`, { method, body, headers: { authorization: `Bearer ${token}` } });
  const { result, errors } = (await response.json()) as { result: unknown; errors: { code: number }[] };
  return { status: response.status, code: errors[0]?.code, result };
}

async function upload(bindings: readonly object[]): Promise<void> {
  const form = new FormData();
  form.set("metadata", JSON.stringify({ bindings }));
  expect((await call("PUT", `${of}/scripts/one`, form)).status).toBe(200);
}

describe("the stand-in", () => {
  it("has a Worker once it is uploaded, with its versions and the names of its secrets", async () => {
    expect(await call("GET", `${of}/scripts/one/deployments`)).toMatchObject({ status: 404, code: 10007 });
    await upload([{ name: "A", type: "plain_text", text: "a" }]);
    await upload([{ name: "S", type: "secret_text", text: "hidden" }]);
    expect(api.bindings("one")).toEqual({ S: "secret_text" });
    expect((await call("GET", `${of}/scripts/one/secrets`)).result).toEqual([{ name: "S", type: "secret_text" }]);
    const [newest, oldest] = ["version-2", "version-1"].map((id) => ({ versions: [{ version_id: id }] }));
    expect((await call("GET", `${of}/scripts/one/deployments`)).result).toMatchObject({
      deployments: [newest, oldest],
    });
  });

  it("asks for the assets that it does not have", async () => {
    const hash = "f".repeat(32);
    const session = () =>
      call("POST", `${of}/scripts/one/assets-upload-session`, JSON.stringify({ manifest: { "/a": { hash } } }));
    expect((await session()).result).toEqual({ jwt: "session", buckets: [[hash]] });
    const form = new FormData();
    form.set(hash, "");
    expect((await call("POST", `${of}/assets/upload?base64=true`, form)).status).toBe(401);
    expect((await call("POST", `${of}/assets/upload?base64=true`, form, "session")).status).toBe(200);
    expect((await session()).result).toEqual({ jwt: "session", buckets: [] });
  });

  it("lets nobody do what his token may not, breaks off as it is told, and records each call", async () => {
    api.tokens.set("weak", new Set(["account"]));
    expect(await call("GET", "/accounts", null, "none")).toMatchObject({ status: 401, code: 9109 });
    expect(await call("GET", "/zones/zone1/workers/routes", null, "weak")).toMatchObject({ status: 403, code: 10000 });
    expect(await call("DELETE", "/accounts")).toMatchObject({ status: 405 });
    api.fault = ({ path }) => (path === "/accounts" ? "close" : undefined);
    await expect(call("GET", "/accounts")).rejects.toThrow(/fetch failed/);
    expect(api.calls).toHaveLength(4);
    expect(api.writes).toEqual(["DELETE /accounts"]);
  });
});

describe("what is read before a deployment", () => {
  const client = (token = "all") =>
    new Cloudflare(sendByHttp, { CLOUDFLARE_API_BASE_URL: api.url, CLOUDFLARE_API_TOKEN: token });

  it("which version is served, and which secrets there are", async () => {
    expect(await client().account()).toBe(ACCOUNT);
    expect(await client().liveVersion(ACCOUNT, "one")).toBeUndefined();
    await upload([{ name: "S", type: "secret_text", text: "hidden" }]);
    expect(await client().liveVersion(ACCOUNT, "one")).toBe("version-1");
    expect(await client().secrets(ACCOUNT, "one")).toEqual(["S"]);
    expect(api.writes).toHaveLength(1);
  });

  it("whose a host is", async () => {
    const taken = (host: string) => client().hostTaken(ACCOUNT, "one", host);
    expect(await taken("a.b.example.net")).toBeUndefined();
    api.domains.push(
      { hostname: "own.example.net", service: "one" },
      { hostname: "other.example.net", service: "two" },
    );
    api.dns.push({ name: "own.example.net", type: "AAAA", content: "100::" });
    expect(await taken("own.example.net")).toBeUndefined();
    expect(await taken("other.example.net")).toMatch(/the Worker two/);
    await expect(taken("a.example.edu")).rejects.toThrow(/no zone/);
  });

  it.each([
    ["none", 5, /does not take the token/],
    ["weak", 5, /may not do that/],
  ])("token %s: exit code %d", async (token, code, message) => {
    api.tokens.set("weak", new Set(["account"]));
    const failed = client(token).liveVersion(ACCOUNT, "one");
    await expect(failed).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});
