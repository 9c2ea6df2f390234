// Files that only their owner may read: what is there whatever goes wrong.
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { keepSecret, replaceOwn } from "../../cli/own-file.ts";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-own-"));
  file = join(folder, "secret");
});
afterEach(() => rmSync(folder, { recursive: true }));
const state = () => [readdirSync(folder), readFileSync(file, "utf8"), statSync(file).mode & 0o777];

describe("a file", () => {
  it("is its owner's alone, though others could read the one before", () => {
    writeFileSync(file, "old, and longer");
    chmodSync(file, 0o644);
    replaceOwn(file, "new");
    expect(state()).toEqual([["secret"], "new", 0o600]);
  });

  it("is written though a command that was killed left its part of one", () => {
    writeFileSync(`${file}.${process.pid}.new`, "rest", { mode: 0o644 });
    replaceOwn(file, new Uint8Array([0x61]));
    expect(state()).toEqual([["secret"], "a", 0o600]);
  });

  it("that cannot be replaced stays, and the exit code is the one that was asked for", () => {
    mkdirSync(file);
    const words = expect.stringMatching(/secret cannot be written: .*EISDIR|ENOTEMPTY/);
    expect(() => replaceOwn(file, "new")).toThrow(expect.objectContaining({ code: 2, message: words }));
    expect(() => replaceOwn(file, "new", 1)).toThrow(expect.objectContaining({ code: 1 }));
    expect(readdirSync(folder)).toEqual(["secret"]);
  });
});

describe("a secret", () => {
  it("is made once the file can be written, and then is in it", async () => {
    const made = await keepSecret(file, () => {
      expect(readdirSync(folder)).toHaveLength(1);
      return Promise.resolve({ token: "t", more: 1 });
    });
    expect(made).toEqual({ token: "t", more: 1 });
    expect(state()).toEqual([["secret"], "t\n", 0o600]);
  });

  it("is not made where the file cannot be written", async () => {
    let isMade = false;
    const make = () => Promise.resolve({ token: `${(isMade = true)}` });
    await expect(keepSecret(join(folder, "none/secret"), make)).rejects.toMatchObject({ code: 2 });
    expect(isMade).toBe(false);
  });

  it("that comes to nothing leaves the file as it was", async () => {
    writeFileSync(file, "old", { mode: 0o600 });
    await expect(keepSecret(file, () => Promise.reject(new Error("refused")))).rejects.toThrow("refused");
    expect(state()).toEqual([["secret"], "old", 0o600]);
  });
});
