import { expect, test } from "vitest";
import { byTopic } from "../../../src/host/process/by-topic.ts";

test("the same words of a topic are said once an hour, other words of it once a minute, other topics at once", () => {
  const said: string[] = [];
  let now = 5;
  const tell = byTopic(
    (line) => said.push(line),
    () => now,
  );
  const at = (ms: number, topic: string, words: string): string[] => {
    now = 5 + ms;
    said.length = 0;
    tell(topic, words);
    return [...said];
  };
  expect(at(0, "a", "one")).toEqual(["one"]);
  expect(at(1, "a", "one")).toEqual([]);
  expect(at(1, "b", "one")).toEqual(["one"]);
  expect(at(59_999, "a", "two")).toEqual([]);
  expect(at(60_000, "a", "two")).toEqual(["two"]);
  // What was left out counts for nothing: an hour since it was said.
  expect(at(3_659_999, "a", "two")).toEqual([]);
  expect(at(3_660_000, "a", "two")).toEqual(["two"]);
  expect(at(3_660_001, "a", "one")).toEqual([]);
});
