// Each command of README.md and docs/ ends well, in the order of its page, on a machine of its own: test/documents/play.ts runs them,
// test/documents/table.ts says which it cannot.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { beforeAll, describe, expect, it } from "vitest";
import { commands, root } from "../../../documents/documents.ts";
import type { Played } from "../../../documents/play.ts";
import { entryOf } from "../../../documents/table.ts";

const all: Played[] = [];
const said: string[] = [];
let code: number | null;

beforeAll(async () => {
  const namespaces = ["--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child"];
  const child = spawn("unshare", [...namespaces, process.execPath, "test/documents/play.ts"], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  createInterface({ input: child.stdout }).on("line", (line) => all.push(JSON.parse(line) as Played));
  createInterface({ input: child.stderr }).on("line", (line) => said.push(line));
  [code] = (await once(child, "close")) as [number | null];
}, 1_800_000);

it("all pages were played to their end", () =>
  expect([code, code === 0 ? "" : said.slice(-20).join("\n")]).toEqual([0, ""]));

const run = commands.filter(({ document, key }) => {
  const { leftOut, testedBy } = entryOf(document, key);
  return leftOut === undefined && testedBy === undefined;
});

describe.each([...new Set(run.map(({ document }) => document))])("%s", (document) => {
  // What the reader has done before has no line: where that fails, the page's commands show it less clearly.
  it("begins where its reader is", () =>
    expect(all.filter((each) => each.document === document && each.line === 0 && each.code !== 0)).toEqual([]));

  it.each(run.filter((each) => each.document === document).map(({ line, key }) => [line, key] as const))(
    "%i: %s",
    (line) => {
      const played = all.find((each) => each.document === document && each.line === line);
      expect(played, "was run").toBeDefined();
      expect(played?.code, played?.output).toBe(0);
    },
  );
});
