// A source whose first state is judged before anybody gets it. Where the judgement is a refusal, nothing is delivered.
import type { Observed, Source } from "./source.ts";

/** `refusalOf` returns why the agent must not go on, or undefined. Once a state has passed, no later one is judged. */
export function checkedSource(
  source: Source,
  refusalOf: (observed: Observed) => string | undefined,
  onRefusal: (why: string) => void,
): Source {
  return {
    subscribe(listener, onProblems) {
      let passed = false;
      return source.subscribe((observed) => {
        const refusal = passed ? undefined : refusalOf(observed);
        if (refusal !== undefined) return onRefusal(refusal);
        passed = true;
        listener(observed);
      }, onProblems);
    },
  };
}
