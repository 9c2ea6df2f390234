// The table through the real programs: each row's bytes straight to the server and through every way, compared.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isAlive } from "../e2e/emulation.ts";
import { inFlight, statusAt } from "./programs.ts";
import { modes, type Row, verdict } from "./row.ts";
import { rows, Stage, uploadsFrom } from "./table.ts";

let stage: Stage;
let servers: number[];
beforeAll(async () => {
  stage = await Stage.build();
  servers = [
    ...stage.start.servers(),
    ...stage.edge.servers(),
    ...stage.start.agents.values(),
    ...stage.edge.agents.values(),
  ];
});
afterAll(() => stage?.stop());

const numbered = rows.map((row, index) => ({ name: row.name, row, index }));

async function holds(row: Row, index: number): Promise<void> {
  const { plain, ours } = await stage.outcomes(row, index);
  const problems = [...ours].flatMap(([mode, outcome]) => verdict(row, mode, outcome, plain) ?? []);
  if (problems.length > 0) throw new Error([row.name, ...problems].join("\n  "));
}

describe.concurrent("a row of the table", () => {
  test.for(numbered.slice(0, uploadsFrom))("$name", async ({ row, index }) => holds(row, index));
});

describe("a large upload that is answered early", () => {
  test.for(numbered.slice(uploadsFrom))("$name", async ({ row, index }) => holds(row, index));
});

describe("afterwards", () => {
  test("the same processes run", () => {
    expect(servers.filter((pid) => !isAlive(pid))).toEqual([]);
  });

  test("every way serves, and nothing says that it is a bug", async () => {
    for (const mode of modes) expect([mode, await statusAt(stage.door(mode))]).toEqual([mode, 200]);
    for (const program of [stage.start, stage.edge])
      expect(program.said()).not.toMatch(/This is a bug|TypeError|the agent failed/);
  });

  test.for(["start", "edge"] as const)("no stream is left at %s", async (name) => {
    const sums = async () => [...(await inFlight(stage[name]))];
    await expect.poll(sums, { timeout: 20_000, interval: 250 }).toEqual([
      ["n1", 0],
      ["n2", 0],
    ]);
  });
});
