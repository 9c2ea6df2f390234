// A source whose first state is judged.
import { beforeEach, describe, expect, it } from "vitest";
import { checkedSource } from "../../../agent/source/checked.ts";
import type { Observed, Source, SourceProblem } from "../../../agent/source/source.ts";

const state = (): Observed => ({ services: [], endpointSlices: [], nodes: [], serviceCIDRs: [] });

describe("checked source", () => {
  let deliver: (observed: Observed) => void;
  let complain: ((problems: readonly SourceProblem[]) => void) | undefined;
  let disposed: boolean;
  let delivered: unknown[];
  let refusals: string[];
  const source: Source = {
    subscribe: (listener, onProblems) => {
      [deliver, complain] = [listener, onProblems];
      return { [Symbol.dispose]: () => (disposed = true) };
    },
  };
  const subscribe = (refusalOf: (observed: Observed) => string | undefined) =>
    checkedSource(source, refusalOf, (why) => refusals.push(why)).subscribe(
      (observed) => delivered.push(observed),
      (problems) => delivered.push(problems),
    );

  beforeEach(() => {
    [disposed, delivered, refusals] = [false, [], []];
  });

  it("delivers nothing of a state that is refused", () => {
    const odd = state();
    subscribe((observed) => (observed === odd ? "not here" : undefined));
    deliver(odd);
    expect([delivered, refusals]).toEqual([[], ["not here"]]);
  });

  it("judges no later state once one has passed", () => {
    const [first, second] = [state(), state()];
    subscribe((observed) => (observed === second ? "not here" : undefined));
    deliver(first);
    deliver(second);
    expect(delivered).toEqual([first, second]);
    expect(refusals).toEqual([]);
  });

  it("hands on problems and the end", () => {
    const subscription = subscribe(() => undefined);
    const problems = [{ where: "a.yaml:1", message: "is no YAML" }];
    complain?.(problems);
    expect(delivered).toEqual([problems]);
    subscription[Symbol.dispose]();
    expect(disposed).toBe(true);
  });
});
