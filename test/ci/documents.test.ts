// Blocks and commands of documents: how they are found, and that the table of test/documents says something of each that exists. They
// are run by test/cluster/tests/documents.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { blocksOf, commandsOf } from "../documents/blocks.ts";
import { blocks, commands, documents, root } from "../documents/documents.ts";
import { before, entryOf, table } from "../documents/table.ts";

const found = (text: string) => blocksOf("a.md", text).flatMap(commandsOf);

describe("blocks", () => {
  it("have a line, a language and a text, without what a list indents them by", () => {
    const text = ["A.", "", "```sh", "a", "```", "- B:", "", "  ```text", "  b", "    c", "  ```", "```", "```"];
    expect(blocksOf("a.md", text.join("\n"))).toEqual([
      { document: "a.md", line: 3, language: "sh", text: "a" },
      { document: "a.md", line: 8, language: "text", text: "b\n  c" },
      { document: "a.md", line: 12, language: "", text: "" },
    ]);
  });

  it("that nothing closes are an error", () => expect(() => blocksOf("a.md", "```sh\na\n")).toThrow("a.md:1"));
});

describe("commands", () => {
  it("are the lines of a shell's block, without comments in their name", () =>
    expect(found("```sh\n# why\na -b   # c\n\nd '#' e#f\n```")).toEqual([
      { document: "a.md", line: 3, text: "a -b   # c", key: "a -b" },
      { document: "a.md", line: 5, text: "d '#' e#f", key: "d '#' e#f" },
    ]));

  it("go on in the next line, and have their here-documents with them", () =>
    expect(found("```sh\na \\\n  b\nc - <<'EOF'\nd\nEOF\ne\n```").map(({ text, key }) => [key, text])).toEqual([
      ["a", "a \\\n  b"],
      ["c - <<'EOF'", "c - <<'EOF'\nd\nEOF"],
      ["e", "e"],
    ]));

  it("in a console's block are behind the prompt, and what is printed is none", () =>
    expect(found("```console\n$ a\nb\n$ c\n```").map(({ text }) => text)).toEqual(["a", "c"]));

  it("are in no other block", () => expect(found("```text\na\n```\n```\nb\n```")).toEqual([]));
});

describe("the documents", () => {
  it("are found, with their commands", () => {
    expect(documents).toContain("README.md");
    expect(commands.length).toBeGreaterThan(60);
  });

  it("say of each block what it is in, so that none for a shell is passed over", () =>
    expect(blocks.filter(({ language }) => !["sh", "console", "text", "ini", "yaml"].includes(language))).toEqual([]));

  it("have each command that the table names, and nothing is said of what is gone", () => {
    const written = new Set(commands.flatMap(({ document, key }) => [key, `${document}: ${key}`]));
    expect(Object.keys(table).filter((key) => !written.has(key))).toEqual([]);
    expect(Object.keys(before).filter((document) => !documents.includes(document))).toEqual([]);
  });

  it("leave out no command without a reason, and those that others test have their test", () => {
    for (const { leftOut, testedBy, ...run } of Object.values(table)) {
      const ways = [leftOut, testedBy, Object.keys(run).length > 0 ? run : undefined];
      expect(ways.filter((way) => way !== undefined)).toHaveLength(1);
      expect(leftOut).not.toBe("");
      if (testedBy !== undefined) expect(existsSync(join(root, testedBy))).toBe(true);
    }
  });

  it("are mostly run", () => {
    const run = commands.filter(({ document, key }) => {
      const { leftOut, testedBy } = entryOf(document, key);
      return leftOut === undefined && testedBy === undefined;
    });
    expect(run.length / commands.length).toBeGreaterThan(0.7);
  });
});
