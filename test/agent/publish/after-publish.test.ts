// The publisher's decisions as a table, and two agents and an edge played through.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { afterPublish, freshMemory, type Memory, type PublishOutcome } from "../../../agent/publish/after-publish.ts";

const half = () => 0.5;
const superseded: PublishOutcome = { kind: "superseded" };
const unreachable: PublishOutcome = { kind: "unreachable", why: "reset" };

describe("afterPublish", () => {
  it.each<[string, PublishOutcome, Partial<Memory>, object]>([
    ["accepted", { kind: "accepted" }, { failures: 3 }, { do: "rest" }],
    ["refused content", { kind: "refused", why: "HTTP 400" }, {}, { do: "rest" }],
    ["refused token", { kind: "unauthorised", why: "HTTP 401" }, {}, { do: "await-token" }],
    ["superseded: first a grace", superseded, {}, { do: "publish", afterMs: 3750, memory: { graceSpent: true } }],
    ["superseded again: claim", superseded, { graceSpent: true }, { do: "claim", memory: { graceSpent: false } }],
    ["superseded, but nothing new to say", superseded, { insists: false }, { do: "rest" }],
    ["unreachable: soon again", unreachable, {}, { do: "publish", afterMs: 250, memory: { failures: 1 } }],
    [
      "unreachable for long",
      unreachable,
      { failures: 40 },
      { do: "publish", afterMs: 15_000, memory: { failures: 41 } },
    ],
    ["told when", { ...unreachable, afterMs: 7000 }, {}, { do: "publish", afterMs: 7250 }],
    ["told too late a time", { ...unreachable, afterMs: 1e9 }, {}, { do: "publish", afterMs: 300_250 }],
    ["unreachable in the grace: it counts on", unreachable, { graceSpent: true }, { memory: { graceSpent: true } }],
  ])("%s", (_what, outcome, memory, step) => {
    expect(afterPublish(outcome, { ...freshMemory, ...memory }, half)).toMatchObject(step);
  });
});

/** The edge's rule, and agents that follow afterPublish(); time is the order of `turns`. */
describe("agents and edge", () => {
  it("end with the edge holding an insisting agent's content, whatever the order, and nobody publishing on", () => {
    const turns = fc.array(fc.nat({ max: 2 }), { maxLength: 40 });
    const edits = fc.array(fc.constantFrom("x", "y"), { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(turns, edits, (order, contents) => {
        const edge = { epoch: 0, sequence: 0, content: "", granted: 0 };
        const agents = contents.map((content) => ({
          content,
          epoch: 0,
          sequence: 0,
          memory: freshMemory,
          done: false,
          attempts: 0,
        }));
        const turn = (index: number) => {
          const agent = agents[index];
          if (agent === undefined || agent.done) return;
          agent.attempts++;
          if (agent.epoch === 0) {
            agent.epoch = ++edge.granted;
            agent.sequence = 0;
          }
          agent.sequence++;
          const newer = agent.epoch > edge.epoch || (agent.epoch === edge.epoch && agent.sequence > edge.sequence);
          const outcome: PublishOutcome = newer || agent.content === edge.content ? { kind: "accepted" } : superseded;
          if (newer) Object.assign(edge, { epoch: agent.epoch, sequence: agent.sequence, content: agent.content });
          const step = afterPublish(outcome, agent.memory, half);
          if (step.do === "rest") agent.done = true;
          else if (step.do === "claim") Object.assign(agent, { epoch: 0, memory: step.memory });
          else if (step.do === "publish") agent.memory = step.memory;
        };
        for (const index of order) turn(index);
        // Everybody gets their turns until nothing is left to do.
        for (let round = 0; round < 10; round++) for (let index = 0; index < 3; index++) turn(index);
        expect(agents.every(({ done }) => done)).toBe(true);
        expect(agents.every(({ attempts }) => attempts <= 10)).toBe(true);
        expect(contents).toContain(edge.content);
      }),
    );
  });
});
