// What was written and is lost again: how soon it is restored, and whom the status names.
import { describe, expect, it } from "vitest";
import { type Contest, contested, PEACE_MS, written } from "../../../agent/controller/restore.ts";
import type { KubeService } from "../../../agent/source/resources.ts";
import { ours, programmed } from "./services.ts";

const theirs = ours({ ingress: [{ ip: "192.0.2.1" }], writers: ["k3s"] });
const stripped = ours({ metadata: { finalizers: [] } });
const unmarked = ours({ conditions: [] });

/** One round: somebody overwrites, we see it and write again. Answers when it may be written, from the moment of the loss. */
function lose(contest: Contest, by: KubeService, now: number): readonly [Contest, number] {
  const lost = contested(contest, by, now);
  return [written(lost, ours()), Math.max(0, lost.notBefore - now)];
}

describe("contested", () => {
  it.each([
    ["ours as written", ours(), 0, undefined],
    ["ours with another condition", ours({ conditions: [programmed, { type: "a/B", status: "True" }] }), 0, undefined],
    [
      "ours with another finalizer more",
      ours({ metadata: { finalizers: ["a/b", ...ours().metadata.finalizers] } }),
      0,
      undefined,
    ],
    ["another address", theirs, 1, "k3s"],
    ["no finalizer: who takes leaves no name", stripped, 1, undefined],
    ["no condition", unmarked, 1, undefined],
  ])("%s", (_what, service, losses, otherWriter) => {
    expect(contested(written(undefined, ours()), service, 1000)).toMatchObject({
      losses,
      otherWriter,
      notBefore: losses * 1000,
    });
  });

  it("restores at once, then after 1, 2, 4 … s, at most five minutes", () => {
    let contest = written(undefined, ours());
    const pauses: number[] = [];
    for (let round = 0; round < 12; round++) {
      let pause: number;
      [contest, pause] = lose(contest, stripped, round * 1000);
      pauses.push(pause);
    }
    expect(pauses).toEqual([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map((seconds) => seconds * 1000));
    expect(contest.otherWriter).toBe("Another controller");
  });

  it("counts once what is written over and over while we wait", () => {
    const [once] = lose(written(undefined, ours()), theirs, 0);
    const twice = contested(once, theirs, 1000);
    const later = [ours({ ingress: [] }), theirs, stripped].reduce(
      (contest, seen) => contested(contest, seen, 1500),
      twice,
    );
    expect(later).toEqual(twice);
    expect(twice).toMatchObject({ losses: 2, notBefore: 2000 });
  });

  it("forgets it after ten minutes of peace, and not before", () => {
    const [contest] = lose(written(undefined, ours()), theirs, 0);
    expect(contested(contest, ours(), PEACE_MS)).toMatchObject({ losses: 1, otherWriter: "k3s" });
    expect(contested(contest, ours(), PEACE_MS + 1)).toMatchObject({ losses: 0, otherWriter: undefined });
  });
});
