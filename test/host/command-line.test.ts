// The programs that a person starts, as that person does: what --help and a wrong option come to.
import { execFile } from "node:child_process";
import { expect, test } from "vitest";

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const run = (program: string, ...args: readonly string[]) =>
  new Promise<Ended>((resolve) => {
    const path = new URL(`../../src/${program}`, import.meta.url).pathname;
    execFile(process.execPath, [path, ...args], (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });

test.each([
  ["demo/main.ts", /^Postern on this machine: .*npm start -- --help/s],
  ["host/main.ts", /^Postern's edge on a machine of your own: .*--help/s],
])("%s", async (program, help) => {
  expect(await run(program, "--help")).toEqual({ code: 0, stdout: expect.stringMatching(help), stderr: "" });
  const wrong = await run(program, "--port", "0");
  expect(wrong).toMatchObject({ code: 2, stdout: "" });
  const [first, second, ...rest] = wrong.stderr.split("\n");
  expect([first, second]).toEqual(["--port must be a number from 1 to 65535, not 0", ""]);
  expect(rest.join("\n")).toMatch(help);
});
