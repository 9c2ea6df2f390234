// The names of postern.dev: owners find each in the documents, and nothing in the repository speaks of one that does not exist.
import { globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { annotation, CLASS, label } from "../../../src/shared/model/annotations.ts";
import {
  type Condition,
  condition,
  CONDITION_MESSAGE_MAX,
  type ConditionName,
  conditionReasons,
  conditionSchema,
  conditionType,
  isTrouble,
  mixedProtocols,
} from "../../../src/shared/model/conditions.ts";

const root = new URL("../../../", import.meta.url).pathname;
const read = (path: string): string => readFileSync(`${root}${path}`, "utf8");

const written = [...Object.values(annotation), ...Object.values(label), CLASS];
const names = Object.keys(conditionReasons) as ConditionName[];
const known = new Set<string>([...written, ...names.map(conditionType)]);

describe("annotations, labels and the class", () => {
  test.each(written)("docs/services.md says what %s is", (name) => {
    const rows = read("docs/services.md").split("\n");
    expect(rows.filter((row) => new RegExp(`[\\x60 ]${name}[\\x60:]`).test(row))).toHaveLength(1);
  });

  test("no two have one name", () => {
    expect(new Set(written).size).toBe(written.length);
  });
});

/** The rows of docs/conditions.md by type, "" where the cell is empty: as the row before. */
function documented(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let type = "postern.dev/Programmed";
  found.set(type, ["Programmed"]);
  for (const line of read("docs/conditions.md").split("\n")) {
    const cells = line.split("|").map((cell) => cell.trim().replaceAll("`", ""));
    if (/^\| `[A-Z]\w+` \| [^`]/.test(line)) found.get(type)?.push(cells[1] ?? "");
    else if (/^\| (`[\w./]+` )?\| `\w+` \|/.test(line)) {
      if (cells[1] !== "") type = cells[1] ?? "";
      found.set(type, [...(found.get(type) ?? []), cells[2] ?? ""]);
    }
  }
  return found;
}

describe("conditions", () => {
  test("docs/conditions.md lists every type with its reasons, and no other", () => {
    const { type, reason } = mixedProtocols("");
    const expected = new Map<string, string[]>([
      [type, [reason]],
      ...names.map((name): [string, string[]] => [conditionType(name), [...conditionReasons[name]].sort()]),
    ]);
    expect(new Map([...documented()].map(([type, reasons]) => [type, reasons.sort()]))).toEqual(expected);
  });

  test("a condition is one that the snapshot's schema takes, however long its message", () => {
    const made = condition("PortNotOffered", "PortNotOffered", "x".repeat(10_000), { ports: [81] });
    expect(conditionSchema.parse(made)).toEqual({
      type: "postern.dev/PortNotOffered",
      status: "True",
      reason: "PortNotOffered",
      message: "x".repeat(CONDITION_MESSAGE_MAX),
      ports: [81],
    });
  });

  test("a name takes its own reasons and no others", () => {
    // Checked by the compiler: without an error, the next line is one.
    // @ts-expect-error "NoSelector" is NoMatchingPods' reason.
    condition("NoReadyPods", "NoSelector", "");
    // @ts-expect-error There is no such type.
    condition("NoSuchThing", "NoSelector", "");
    expect(conditionReasons.NoReadyPods).not.toContain("NoSelector");
  });

  test.each<[Condition, boolean]>([
    [condition("Programmed", "Programmed", ""), false],
    [condition("Programmed", "Pending", "", { status: "False" }), true],
    [condition("NoReadyPods", "NoneReady", ""), true],
    [condition("NoReadyPods", "NoneReady", "", { status: "False" }), false],
    [condition("HostNotKept", "HostNotKept", ""), false],
    [mixedProtocols(""), true],
    [{ type: "postern.dev/OfANewerAgent", status: "True", reason: "Any", message: "" }, true],
  ])("%o: trouble is %s", (made, trouble) => {
    expect(isTrouble(made)).toBe(trouble);
  });
});

test("whatever is called postern.dev/… in programs, manifests and documents exists", () => {
  const files = globSync(["src/**/*.{ts,yaml}", "agent/**/*.{ts,yaml,sh}", "docs/*.md", "README.md"], { cwd: root });
  const mentions = files.flatMap((file) =>
    [...read(file).matchAll(/\bpostern\.dev\/[A-Za-z][\w-]*/g)].map(([name]) => ({ file, name })),
  );
  expect(mentions.filter(({ name }) => !known.has(name))).toEqual([]);
  // It looked.
  expect(new Set(mentions.map(({ name }) => name)).size).toBeGreaterThan(written.length);
});
