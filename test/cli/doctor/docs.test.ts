// docs/doctor.md has a heading for every id, under which findings name their page.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { checkIds, pageOf } from "../../../cli/doctor/checks.ts";
import { doctorPage } from "../../../cli/doctor/docs.ts";

const page = readFileSync(new URL("../../../docs/doctor.md", import.meta.url), "utf8");

it("is what `npm run docs` makes", () => {
  expect(doctorPage(page)).toBe(page);
});

it("leads from each finding to its heading", () => {
  const headings = [...page.matchAll(/^### (.+)$/gm)].map(([, id]) => `docs/doctor.md#${id}`);
  expect(checkIds.map(pageOf).filter((link) => !headings.includes(link))).toEqual([]);
});
