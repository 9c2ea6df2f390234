// Completed by a real bash, and by a real zsh where there is one.
import { execFileSync, spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { bashCompletion, zshCompletion } from "../../cli/completion.ts";
import { programOf } from "../../cli/program.ts";
import type { Effects } from "../../cli/session.ts";

const program = programOf({ print: () => {}, tell: () => {} } as unknown as Effects);

/** What bash offers for the last word, which may be empty. */
function offered(...words: string[]): string[] {
  const script = `${bashCompletion(program)}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _postern; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const text = execFileSync("bash", ["-c", script, "bash", "postern", ...words], { encoding: "utf8" });
  return text.split("\n").filter((word) => word !== "");
}

it.each<[string[], string[]]>([
  [["clu"], ["cluster"]],
  [
    ["cluster", "r"],
    ["rotate", "revoke", "remove"],
  ],
  [["cluster", "add", "home", "--sh"], ["--shards"]],
  [["status", "home", "--w"], ["--watch"]],
  // Of the programs that read them.
  [["dev", "--man"], ["--manifests"]],
  [["edge", "--address", "192.168.1.10", "--li"], ["--listener-ports"]],
  [["deploy", "--dom"], ["--domain"]],
  [
    ["-o", "json", "hostnames", "s"],
    ["show", "set"],
  ],
  [["join", "--kube"], ["--kube-context"]],
  [["cluster", "show", "--ou"], ["--output"]],
  [["nothing", "of", "the", "sort", "vers"], ["version"]],
])("%j", (words, expected) => {
  expect(offered(...words)).toEqual(expected);
});

it("offers every command at first", () => {
  const all = program.commands.map((each) => each.name());
  expect(offered("")).toEqual(expect.arrayContaining(all));
  expect(all).toContain("completion");
});

it.skipIf(spawnSync("zsh", ["--version"]).status !== 0)("is read by zsh", () => {
  const { status, stderr } = spawnSync("zsh", ["-f", "-c", `${zshCompletion(program)}\nwhence -w _postern`], {
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([0, ""]);
});
