// Every link within the documents leads to a file, and to a heading of it. Links to elsewhere are not asked: nothing dials out here.
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

const root = new URL("../..", import.meta.url).pathname;
const documents = globSync(["*.md", "{docs,cli,agent,src,test}/**/*.md"], { cwd: root }).filter(
  (path) => !path.includes("node_modules"),
);

/** As GitHub makes them of headings. */
function anchors(text: string): Set<string> {
  const headings = [...prose(text).matchAll(/^#{1,6} +(.+?) *#*$/gm)].map(([, heading = ""]) => heading);
  const counts = new Map<string, number>();
  return new Set(
    headings.map((heading) => {
      const bare = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
      const slug = bare.replaceAll(/[^\p{L}\p{N}\p{M}_\- ]/gu, "").replaceAll(" ", "-");
      const before = counts.get(slug) ?? 0;
      counts.set(slug, before + 1);
      return before === 0 ? slug : `${slug}-${before}`;
    }),
  );
}

/** Without blocks of code, in which "#" begins a comment. */
const prose = (text: string): string => text.replaceAll(/^```.*?^```/gms, "");

/** Those to files and headings of this repository. */
function links(text: string): string[] {
  const targets = [...prose(text).matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = ""]) => target);
  return targets.filter((target) => !/^[a-z]+:/.test(target));
}

describe("links of documents", () => {
  it("are found", () => {
    expect(documents.length).toBeGreaterThan(15);
    expect(links("[a](b.md#c) [d](https://e) `x`\n```\n[no](way)\n```\n")).toEqual(["b.md#c"]);
    expect([...anchors("# A `b`: c, d\n```\n# no\n```\n## A b c d\n")]).toEqual(["a-b-c-d", "a-b-c-d-1"]);
  });

  it.each(documents)("%s", (document) => {
    const broken = links(readFileSync(join(root, document), "utf8")).filter((link) => {
      const [path = "", anchor] = link.split("#");
      const file = path === "" ? join(root, document) : join(root, dirname(document), path);
      if (!existsSync(file) || relative(root, file).startsWith("..")) return true;
      if (anchor === undefined || statSync(file).isDirectory()) return false;
      return !anchors(readFileSync(file, "utf8")).has(anchor);
    });
    expect(broken).toEqual([]);
  });
});
