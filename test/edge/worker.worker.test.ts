// Who is led to the control API where no listener proxy names the port: requests that name the admin host, in any of the forms that
// a Host header may have.
import { createExecutionContext, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { Env } from "../../src/edge/env.ts";
import type { TunnelObject } from "../../src/edge/tunnel/tunnel-object.ts";
import worker from "../../src/edge/worker.ts";

const cloudflare: Env = { ...env, ADMIN_HOST: "postern.example.net" };
delete (cloudflare as { FORWARDER_SECRET?: string }).FORWARDER_SECRET;

const request = (host: string) => new Request("https://postern.example.net/healthz", { headers: { host } });

describe.each([
  ["postern.example.net", true],
  ["Postern.Example.NET", true],
  ["postern.example.net.", true],
  ["postern.example.net:443", true],
  ["Postern.example.net.:0443", true],
  ["postern.example.net:8443", false],
  ["postern.example.net:80", false],
  ["postern.example.net..", false],
  ["x.postern.example.net", false],
  ["postern.example.ne", false],
  ["", false],
])("Host %j: the admin host: %s", (host, admin) => {
  it("by the Worker", async () => {
    const response = await worker.fetch(request(host), cloudflare, createExecutionContext());
    expect([response.status, await response.text()]).toEqual(
      admin ? [200, '{"ok":true}'] : [404, expect.stringContaining("no-such-listener")],
    );
  });

  it("by a TunnelObject, which takes dials there", async () => {
    const answer = await runInDurableObject(env.TUNNEL.getByName("home/0"), async (object) => {
      Object.assign(object, { env: cloudflare });
      const response = await (object as TunnelObject).fetch(request(host));
      return [response.status, (await response.text()) === "Upgrade: websocket expected"];
    });
    expect(answer).toEqual(admin ? [426, true] : [404, false]);
  });
});
