// What the doctor asks Cloudflare of the day's limits, against the stand-in for its API; and what the documents say of those limits.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { freePlan } from "../../cli/doctor/free-plan.ts";
import { quotaFacts } from "../../cli/quota.ts";
import { sendByHttp } from "../../src/host/send.ts";
import { ACCOUNT, CloudflareStandIn } from "./deploy/stand-in.ts";

const EDGE = "https://postern.example.net";
const DAY = Date.UTC(2026, 10, 27);
const noon = DAY + 12 * 3_600_000;

let api: CloudflareStandIn;
let state: string;
beforeEach(async () => {
  api = await CloudflareStandIn.start();
  api.tokens.set("all", new Set(["account", "analytics"]));
  state = mkdtempSync(join(tmpdir(), "postern-quota-"));
  const folder = join(state, "postern/deploy/postern.example.net");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "deployed.json"), JSON.stringify({ facts: { account: ACCOUNT }, version: "v1" }));
});
afterEach(async () => {
  await api.stop();
  rmSync(state, { recursive: true });
});

const ask = (token: string, edge = EDGE) => {
  const environment = { XDG_STATE_HOME: state, CLOUDFLARE_API_BASE_URL: api.url, CLOUDFLARE_API_TOKEN: token };
  return quotaFacts({ environment, send: sendByHttp }, edge, { now: noon, withinMs: 2_000 });
};

it("is what all Workers have used since midnight UTC, 20 messages as one request of an object", async () => {
  const objects = "durableObjectsInvocationsAdaptiveGroups";
  const periodic = { duration: 99.5, rowsRead: 70, rowsWritten: 7, inboundWebsocketMsgCount: 10 };
  api.counted.push(
    { dataset: "workersInvocationsAdaptive", at: DAY - 1, sum: { requests: 1_000_000 } },
    { dataset: "workersInvocationsAdaptive", at: DAY, sum: { requests: 500 } },
    { dataset: "workersInvocationsAdaptive", at: noon, sum: { requests: 1 } },
    { dataset: objects, at: noon, sum: { requests: 300 }, dimensions: { type: "fetch" } },
    { dataset: objects, at: noon, sum: { requests: 3 }, dimensions: { type: "alarm" } },
    { dataset: objects, at: noon, sum: { requests: 395 }, dimensions: { type: "hibernation" } },
    { dataset: "durableObjectsPeriodicGroups", at: noon, sum: periodic },
  );
  expect(await ask("all")).toEqual({
    account: ACCOUNT,
    resetsAt: DAY + 86_400_000,
    used: { workerRequests: 501, objectRequests: 303 + 21, objectTime: 99.5, rowsRead: 70, rowsWritten: 7 },
  });
});

it("is nothing on a day on which nothing ran", async () => {
  const used = { workerRequests: 0, objectRequests: 0, objectTime: 0, rowsRead: 0, rowsWritten: 0 };
  expect(await ask("all")).toMatchObject({ used });
});

it("asks nobody without a token, or about an edge that was not deployed from here", async () => {
  expect(await ask("")).toBeUndefined();
  expect(await ask("all", "http://192.168.1.10:8787")).toBeUndefined();
  expect(api.calls).toEqual([]);
});

it.each([
  ["weak", true, /not authorized for that account/],
  ["wrong", true, /Authentication error/],
  ["all", false, /cannot be reached/],
])("with token %s it says why it knows nothing (missing right: %s)", async (token, lacksRight, why) => {
  api.tokens.set("weak", new Set(["account"]));
  if (token === "all") api.fault = () => "close";
  const refused = { lacksRight, why: expect.stringMatching(why) };
  expect(await ask(token)).toEqual({ account: ACCOUNT, resetsAt: DAY + 86_400_000, refused });
});

it("docs/how-to-cloudflare.md has the same limits", () => {
  const page = readFileSync(new URL("../../docs/how-to-cloudflare.md", import.meta.url), "utf8");
  const [, section = ""] = /\n## What the free plan carries\n([^]*?)\n- /.exec(page) ?? [];
  for (const { most } of Object.values(freePlan)) expect(section).toContain(` ${most.toLocaleString("en")} `);
});
