// Rounds of probes: who shares one, who waits for one, and who is refused.
import { expect, test } from "vitest";
import { Rounds } from "../../../src/edge/cluster/rounds.ts";

function stage() {
  const rounds = new Rounds<string>();
  const begun: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<string>>();
  const ask = (question: string) =>
    rounds.ask(question, () => {
      begun.push(question);
      const end = Promise.withResolvers<string>();
      ends.set(question, end);
      return end.promise;
    });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { ask, begun, ends, turn };
}

test("the same question shares a round that runs or waits; another waits for it; a third is refused", async () => {
  const { ask, begun, ends, turn } = stage();
  const [first, same, other, sameOther, third] = [ask("a"), ask("a"), ask("b"), ask("b"), ask("c")];
  expect(third).toBeUndefined();
  await turn();
  expect(begun).toEqual(["a"]);
  ends.get("a")?.resolve("one");
  expect([await first, await same]).toEqual(["one", "one"]);
  await turn();
  expect(begun).toEqual(["a", "b"]);
  ends.get("b")?.resolve("two");
  expect([await other, await sameOther]).toEqual(["two", "two"]);
  // What is over is asked anew.
  const again = ask("a");
  await turn();
  expect(begun).toEqual(["a", "b", "a"]);
  ends.get("a")?.resolve("three");
  expect(await again).toBe("three");
});

test("a round that fails fails for those who share it, and keeps nobody else waiting", async () => {
  const { ask, ends, turn } = stage();
  const [first, same, other] = [ask("a"), ask("a"), ask("b")];
  await turn();
  ends.get("a")?.reject(new Error("lost"));
  await expect(first).rejects.toThrow("lost");
  await expect(same).rejects.toThrow("lost");
  await turn();
  ends.get("b")?.resolve("two");
  expect(await other).toBe("two");
});
