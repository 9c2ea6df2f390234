import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { reference } from "../../.ci/reference.ts";

it("docs/reference.md is what the programs say of themselves; otherwise: npm run docs", () =>
  expect(readFileSync(new URL("../../docs/reference.md", import.meta.url), "utf8")).toBe(reference()));
