// Whose word the edge's state folder is: its user's alone, one edge at a time.
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { adminToken, keepFile, openStateFolder } from "../../../src/host/state/state-folder.ts";

let root: string;
let state: string;
let token: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "postern-state-"));
  state = join(root, "state");
  token = join(state, "admin-token");
});
afterEach(() => rmSync(root, { recursive: true }));

const mode = (path: string) => statSync(path).mode & 0o777;

test("what it makes is its user's alone, and the token stays", () => {
  openStateFolder(state).release();
  const first = adminToken(token);
  expect([mode(state), mode(join(state, "storage")), mode(join(state, "logs")), mode(token)]).toEqual([
    0o700, 0o700, 0o700, 0o600,
  ]);
  expect(first).toMatch(/^[\w-]{43}$/);
  openStateFolder(state).release();
  expect(adminToken(token)).toBe(first);
});

test("a second edge is refused, with pid and folder, and changes nothing", () => {
  const lock = openStateFolder(state);
  expect(() => openStateFolder(state)).toThrow(
    new RegExp(`${state} is in use by another edge \\(pid ${process.pid}, since .*--state another folder`),
  );
  expect(existsSync(token)).toBe(false);
  lock.release();
  openStateFolder(state).release();
});

test.each([
  ["the folder", () => state, 0o777, /state may be written by other users \(mode 777\).*chmod 700/],
  ["the folder, by its group", () => state, 0o770, /state may be written .*chmod 700/],
  ["the objects' folder", () => join(state, "storage"), 0o777, /storage may be written .*chmod 700/],
])("%s that others may write is not trusted", (_, path, bits, words) => {
  mkdirSync(join(state, "storage"), { recursive: true });
  chmodSync(path(), bits);
  expect(() => openStateFolder(state)).toThrow(words);
});

test.each([
  ["others may read", 0o644, "x".repeat(43), /admin-token may be read by other users \(mode 644\).*chmod 600/],
  ["its group may read", 0o640, "x".repeat(43), /admin-token may be read .*chmod 600/],
  ["is empty", 0o600, "", /admin-token must hold one token/],
  ["holds more than a token", 0o600, `${"x".repeat(43)}\nmore`, /admin-token must hold one token/],
  ["holds a password", 0o600, "secret", /admin-token must hold one token/],
])("a token that %s is not trusted", (_, bits, text, words) => {
  mkdirSync(state);
  writeFileSync(token, text);
  chmodSync(token, bits);
  expect(() => adminToken(token)).toThrow(words);
  expect(readFileSync(token, "utf8")).toBe(text);
});

test("a link is no token", () => {
  mkdirSync(state);
  writeFileSync(join(root, "elsewhere"), "x".repeat(43), { mode: 0o600 });
  symlinkSync(join(root, "elsewhere"), token);
  expect(() => adminToken(token)).toThrow(/no link/);
});

test.runIf(process.getuid?.() === 0)("another user's folder or token is not trusted", () => {
  mkdirSync(state);
  writeFileSync(token, "x".repeat(43), { mode: 0o600 });
  chownSync(token, 4711, 4711);
  expect(() => adminToken(token)).toThrow(/admin-token belongs to user 4711.*chown 0 /);
  chownSync(state, 4711, 4711);
  expect(() => openStateFolder(state)).toThrow(/state belongs to user 4711.*chown 0 /);
});

test("a file is kept as it shall be, whoever changed it", () => {
  mkdirSync(state);
  const file = join(state, "workerd.capnp");
  keepFile(file, "ours");
  writeFileSync(file, "another's");
  keepFile(file, "ours");
  expect([readFileSync(file, "utf8"), mode(file)]).toEqual(["ours", 0o600]);
});
