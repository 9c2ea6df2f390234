// Ids on the command line: --only a,b --skip c. Pure.
import { exitCodes, Failed } from "../failed.ts";
import { type CheckId, checkIds } from "./checks.ts";
import type { Selection } from "./examine.ts";
import { nearest } from "./nearest.ts";

/** Throws an id that there is not, with the nearest that there is. */
export const selectionOf = (only: readonly string[], skip: readonly string[]): Selection => ({
  only: only.flatMap(idsOf),
  skip: skip.flatMap(idsOf),
});

const idsOf = (text: string): CheckId[] =>
  text
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "")
    .map((word) => {
      const id = checkIds.find((each) => each === word);
      if (id !== undefined) return id;
      const meant = nearest(word, checkIds);
      throw new Failed(`there is no finding ${word}${meant === undefined ? "" : `: ${meant} is the nearest`}`, {
        next: "docs/doctor.md lists them",
        code: exitCodes.usage,
      });
    });
