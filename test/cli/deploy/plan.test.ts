// What a deployment would change.
import { expect, it } from "vitest";
import { planOf } from "../../../cli/deploy/plan.ts";

const wanted = { domain: "example.com", agent: "b" };

it.each([
  [
    "no such Worker, whatever is known of one",
    planOf(wanted, { facts: wanted, version: "1" }, undefined),
    {
      action: "create",
      changes: [
        { what: "domain", to: "example.com" },
        { what: "agent", to: "b" },
      ],
    },
  ],
  ["all as it was", planOf(wanted, { facts: wanted, version: "1" }, "1"), { action: "none", changes: [] }],
  [
    "one thing differs, and one is new",
    planOf(wanted, { facts: { domain: "example.org" }, version: "1" }, "1"),
    {
      action: "update",
      changes: [
        { what: "domain", from: "example.org", to: "example.com" },
        { what: "agent", to: "b" },
      ],
    },
  ],
  [
    "a Worker of which nothing is known here",
    planOf(wanted, undefined, "1"),
    {
      action: "update",
      changes: expect.arrayContaining([{ what: "agent", to: "b" }]),
      why: expect.stringMatching(/finished/),
    },
  ],
  [
    "another version than the one deployed from here",
    planOf(wanted, { facts: wanted, version: "1" }, "2"),
    {
      action: "update",
      changes: expect.arrayContaining([{ what: "agent", to: "b" }]),
      why: expect.stringMatching(/since/),
    },
  ],
])("%s", (_, plan, expected) => {
  expect(plan).toEqual(expected);
});
