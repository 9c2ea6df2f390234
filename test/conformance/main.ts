// The table by hand: `npx node test/conformance/main.ts [REGEX]` starts both programs, plays the rows whose names match, and
// prints what the server straight and each way answered, and what is wrong with it. Exit code 1: something is.
import { described, verdict } from "./row.ts";
import { rows, Stage } from "./table.ts";

const filter = new RegExp(process.argv[2] ?? "");
const stage = await Stage.build();
try {
  for (const [index, row] of rows.entries()) {
    if (!filter.test(row.name)) continue;
    const { plain, ours } = await stage.outcomes(row, index);
    console.log(`== ${row.name}\n  plain        ${described(plain)}`);
    for (const [mode, outcome] of ours) {
      const problem = verdict(row, mode, outcome, plain)?.split("\n")[0];
      console.log(
        `  ${mode.padEnd(12)} ${described(outcome)}${problem === undefined ? "" : `\n    WRONG: ${problem}`}`,
      );
      if (problem !== undefined) process.exitCode = 1;
    }
  }
} finally {
  await stage.stop();
}
