// Warnings come as whole lists, and each is logged once.
import { expect, it } from "vitest";
import { LogOnce } from "../../agent/log-once.ts";

it("logs what is new about a topic, and what comes back", () => {
  const logged: string[] = [];
  const logOnce = new LogOnce((text) => logged.push(text));
  logOnce.warn("a", ["x", "x"]);
  logOnce.warn("a", ["x", "y"]);
  logOnce.warn("b", ["x"]);
  expect(logged).toEqual(["x", "y", "x"]);
  logOnce.warn("a", ["y"]);
  logOnce.warn("a", ["x", "y"]);
  logOnce.warn("b", []);
  logOnce.warn("b", ["x"]);
  expect(logged).toEqual(["x", "y", "x", "x", "x"]);
});
