// How a virtual machine is told what to run. That it runs is tried by `node test/cluster/vm/main.ts -- …`.
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { initScript, type Job, kernelArguments, quoted } from "./job.ts";

const job: Job = {
  command: ["echo", "it's", "a b"],
  cwd: "/work",
  env: { TMPDIR: "/run/x y" },
  shared: ["/tmp/logs"],
  modules: ["ip_vs", "dummy numdummies=0"],
  memoryMB: 512,
};

test("without a tap there is no network device; with one it is the uplink", () => {
  expect(kernelArguments(job, "/job").filter((word) => word.includes("transport"))).toEqual([]);
  expect(kernelArguments({ ...job, tap: "t0" }, "/job")).toContain("vec0:transport=tap,ifname=t0,depth=128,gro=0");
});

test("memory, first process and the command's two outputs are the job's", () => {
  const words = kernelArguments(job, "/job");
  expect(words).toEqual(expect.arrayContaining(["mem=512M", "init=/job/init", "ssl0=null,fd:3", "ssl1=null,fd:4"]));
});

test("the script is one that bash understands, and runs the command with its words and its environment", () => {
  const script = initScript(job, "/job", "/cache/kernel");
  execFileSync("bash", ["-n"], { input: script });
  expect(script).toContain(
    String.raw`env 'TMPDIR=/run/x y' 'echo' 'it'\''s' 'a b' </dev/null >/dev/ttyS0 2>/dev/ttyS1`,
  );
});

test("what is shared is mounted in the new root before that becomes the root; so is the folder of the job", () => {
  const lines = initScript(job, "/job", "/cache/kernel").split("\n");
  const places = ["'/tmp/logs'", "'/job'"].map((path) => lines.findIndex((line) => line.includes(`hostfs -o ${path}`)));
  const pivot = lines.findIndex((line) => line.startsWith("pivot_root"));
  expect(places.every((place) => place > 0 && place < pivot)).toBe(true);
});

test.each(["plain", "two words", "it's", "$HOME `id`", ""])("a shell takes %j as one word", (text) => {
  expect(execFileSync("bash", ["-c", `printf %s ${quoted(text)}`], { encoding: "utf8" })).toBe(text);
});
