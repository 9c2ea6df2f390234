// The agent's files: by the hashes of their bytes, for ever, and on no tenant's host. test/vitest.config.ts has what stands in for an
// agent: the texts "agent" and "probe".
import { exports } from "cloudflare:workers";
import { expect, it } from "vitest";
import { byListener, call, type Problem } from "../worker/edge.ts";

const AGENT = "d4f0bc5a29de06b510f9aa428f1eedba926012b591fef7a518e776a7c9bd1824";
const PROBE = "ba9c736f19e7f60b7f6764adb0b7908c0a2b394e09b6c09863528c7f2bc86095";
const OTHER = "0".repeat(64);
const get = (path: string, headers = {}, method = "GET") => call(method, `/agent/${path}`, { headers });

it.each([
  ["the agent", AGENT, "agent"],
  ["its probe", PROBE, "probe"],
])("%s comes without a token, and may be kept for ever", async (_, hash, text) => {
  const answer = await get(`${hash}.mjs`);
  expect([answer.status, await answer.text()]).toEqual([200, text]);
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    "content-type": "text/javascript",
    "cache-control": "public, max-age=31536000, immutable",
    etag: `"${hash}"`,
  });
});

it("HEAD gets the head alone, and who has it already nothing", async () => {
  const head = await get(`${AGENT}.mjs`, {}, "HEAD");
  expect([head.status, head.headers.get("etag"), await head.text()]).toEqual([200, `"${AGENT}"`, ""]);
  const known = await get(`${AGENT}.mjs`, { "if-none-match": `"${AGENT}"` });
  expect([known.status, await known.text()]).toEqual([304, ""]);
  const other = await get(`${AGENT}.mjs`, { "if-none-match": `"${PROBE}"` });
  expect([other.status, await other.text()]).toEqual([200, "agent"]);
});

it("an unknown one is refused with those that there are, and what to do", async () => {
  const answer = await get(`${OTHER}.mjs`);
  expect([answer.status, answer.headers.get("cache-control")]).toEqual([404, "no-store"]);
  const { reason, detail, remedy } = await answer.json<Problem>();
  expect(reason).toBe("no-such-agent");
  for (const words of [OTHER, AGENT, PROBE, "version 1.2.3"]) expect(detail).toContain(words);
  expect(remedy).toContain("postern join NAME --apply");
});

it.each(["index.json", AGENT, `${AGENT.toUpperCase()}.mjs`, `${AGENT}.mjs.map`, `..%2fagent%2f${AGENT}.mjs`, ""])(
  "nothing else is there: %s",
  async (path) => {
    const answer = await get(path);
    expect([answer.status, (await answer.json<Problem>()).reason]).toEqual([404, "no-such-path"]);
  },
);

it("a tenant's host has none of it", async () => {
  const answer = await exports.default.fetch(`http://web-default-home.edge.test/agent/${AGENT}.mjs`, {
    headers: byListener("web-default-home.edge.test"),
  });
  expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining("no-such-listener")]);
});
