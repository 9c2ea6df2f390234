// Which processor `npm run image` builds for, and whether the Node.js that goes into the image is for that one.
import { closeSync, openSync, readSync } from "node:fs";
import { expect, it } from "vitest";
import { platformOf, programArch } from "../../.ci/platform.ts";

it.each([
  [undefined, "x64", "amd64"],
  [undefined, "arm64", "arm64"],
  ["linux/arm64", "x64", "arm64"],
  ["linux/amd64", "arm64", "amd64"],
  [undefined, "riscv64", undefined],
  ["linux/arm/v7", "x64", undefined],
])("%s on a machine of %s is %s", (text, machine, arch) => {
  expect(platformOf(text, machine)?.arch).toBe(arch);
});

it("a program says for which processor it is", () => {
  const head = Buffer.alloc(20);
  const file = openSync(process.execPath, "r");
  readSync(file, head);
  closeSync(file);
  expect(programArch(head)).toBe(platformOf(undefined, process.arch)?.arch);
  head.writeUInt16LE(0xb7, 18);
  expect(programArch(head)).toBe("arm64");
  head.writeUInt16LE(0xf3, 18);
  expect(programArch(head)).toBeUndefined();
  expect(programArch(Buffer.from("#!/bin/sh\necho no program"))).toBeUndefined();
  expect(programArch(head.subarray(0, 19))).toBeUndefined();
});
