import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { bundleHash } from "../../agent/bundle.ts";

it("is the SHA-256 of a bundle, and nothing of sources", () => {
  const folder = mkdtempSync(join(tmpdir(), "postern-bundle-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "main.mjs");
  writeFileSync(file, "agent");
  expect(bundleHash(file)).toBe(createHash("sha256").update("agent").digest("hex"));
  expect(bundleHash(import.meta.filename)).toBeUndefined();
});
