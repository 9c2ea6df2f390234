// The load's judge is judged: what it takes for worse than kube-proxy, and what it leaves out.
import { expect, test } from "vitest";
import { faultsOf, figuresOf, type Played, printed } from "./figures.ts";
import type { Counts } from "./messages.ts";

const counts: Counts = {
  connections: { asked: 10, answered: 8, failed: { "IPv4 ECONNREFUSED": 1, "IPv6 timeout": 1 } },
  synsAgain: 3,
  streams: { opened: 4, finished: 1, lost: { "IPv4 ECONNRESET": 2 }, silenceMs: 120 },
  questions: { asked: 20, answered: 17, failed: { "IPv4 timeout": 3 } },
  flows: { asked: 30, answered: 26, failed: { "IPv6 timeout": 4 } },
  names: {},
};
const played: Played = {
  case: "pod rollout",
  side: "agent",
  counts: new Map([
    ["a2 → ClusterIP", counts],
    ["b → NodePort@a", { ...counts, streams: { ...counts.streams, silenceMs: 90 } }],
  ]),
  slowestMs: 300,
  removals: 0,
  said: [],
};

test("all ways are summed up, but of silences the longest counts", () => {
  expect(figuresOf(played)).toEqual({
    ...{ connections: 20, failed: 4, synsAgain: 6, streams: 8, streamsLost: 4, silenceMs: 120 },
    ...{ questions: 40, questionsLost: 6, flowQuestions: 60, flowQuestionsLost: 8, slowestMs: 300 },
  });
});

test("as many losses as kube-proxy has are no fault, one more of any kind is", () => {
  const its = figuresOf(played);
  expect(faultsOf(played, its, its)).toEqual([]);
  expect(faultsOf(played, its, { ...its, failed: 3 })).toEqual(["4 new connections failed, of kube-proxy's 3"]);
  expect(faultsOf(played, its, { ...its, streamsLost: 3, questionsLost: 5, flowQuestionsLost: 7 })).toHaveLength(3);
});

test("a question of each flow may be lost when endpoints are taken away", () => {
  const its = figuresOf(played);
  const none = { ...its, flowQuestionsLost: 0 };
  // Two ways in two families are four flows.
  expect(faultsOf({ ...played, removals: 2 }, its, none)).toEqual([]);
  expect(faultsOf({ ...played, removals: 1 }, its, none)).toEqual([
    "8 questions of flows of UDP were lost, of kube-proxy's 0",
  ]);
});

test("kube-proxy itself is only told what it did not do", () => {
  const said = [{ check: "answers come from c1", seen: "a1", right: false }];
  expect(faultsOf({ ...played, said }, figuresOf(played), undefined)).toEqual(["answers come from c1: a1"]);
});

test("what was lost is printed by way, kind and reason, and much of it without the way", () => {
  const [one = ["", counts]] = played.counts;
  const text = printed({ ...played, counts: new Map([one]) }, figuresOf(played), ["worse"]);
  expect(text).toContain("pod rollout");
  expect(text).toContain("  WRONG  worse\n");
  expect(text).toContain("a2 → ClusterIP, new TCP: IPv4 ECONNREFUSED ×1\n");
  expect(text).toContain("a2 → ClusterIP, kept TCP: IPv4 ECONNRESET ×2\n");
  expect(printed(played, figuresOf(played), [])).toContain("         new TCP: IPv4 ECONNREFUSED ×2\n");
});
