// The benchmark's stand-in for an API server is held against a real one: kube-proxy writes the same rules from both, however it
// asks, at the start and after a change.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { modes } from "../../bench/programs.ts";
import { ensureNewestProxy } from "../../harness/binaries.ts";

const rules = z.tuple([z.array(z.string()), z.array(z.string())]);
const schema = z.strictObject({
  unknown: z.array(z.string()),
  result: z.record(
    z.enum(modes),
    z.strictObject({ real: rules, standIn: z.record(z.string(), z.strictObject({ rules, lists: z.int() })) }),
  ),
});
let seen: z.infer<typeof schema>;

beforeAll(async () => {
  // globalSetup.ts has built all of them.
  const kubeProxy = `${await ensureNewestProxy(() => {})}/kube-proxy`;
  const isolated = new URL("isolated.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [isolated, kubeProxy], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  expect(code).toBe(0);
  seen = schema.parse(JSON.parse(said));
}, 900_000);

for (const mode of modes) {
  it(`gives kube-proxy the same rules as a real API server, in mode ${mode}`, () => {
    const { real, standIn } = seen.result[mode];
    expect(real[0]).not.toEqual(real[1]);
    expect(Object.keys(standIn)).toHaveLength(4);
    for (const [way, { rules: ofStandIn, lists }] of Object.entries(standIn)) {
      expect(ofStandIn[0], `${way}, first sync`).toEqual(real[0]);
      expect(ofStandIn[1], `${way}, after a move`).toEqual(real[1]);
      expect(lists > 0, `${way}: asked for lists`).toBe(way.endsWith("lists"));
    }
  });
}

it("answers all that kube-proxy asks", () => {
  expect(seen.unknown).toEqual([]);
});
