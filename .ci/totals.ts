// What .ci/run says at its end: each test that failed, once more, since a log may be kept by its end alone; what passed only at
// another try; and the sums. `node totals.ts FOLDER`: the folder has vitest's reports, tests*.json, and what the packet table
// printed, table-MODE-TRY.log.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The parts of vitest's JSON report that are read. */
export interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numFailedTestSuites: number;
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[] | undefined;
    }[];
  }[];
}

export interface TableTry {
  readonly mode: string;
  /** 1, 2. Only the last one of a mode counts. */
  readonly try: number;
  readonly text: string;
}

/** Lines to print. The last one is "N passed, M failed". */
export function totals(reports: readonly Report[], tries: readonly TableTry[]): string[] {
  const last = tries.filter((each) => !tries.some(({ mode, try: other }) => mode === each.mode && other > each.try));
  const said = tries.flatMap((each) => {
    const prefix = last.includes(each) ? "" : "AT THE FIRST TRY: ";
    return faultsIn(each.text).map((fault) => `${prefix}packet table: ${each.mode}: ${fault}`);
  });
  const sum = <T>(list: readonly T[], of: (each: T) => number): number =>
    list.reduce((total, each) => total + of(each), 0);
  const passed = sum(reports, ({ numPassedTests }) => numPassedTests) + sum(last, ({ text }) => countedIn(text).passed);
  // Tests that did not even get to their report.
  const unreported = reports.length === 0 ? ["FAILED npm test: there is no report of it"] : [];
  const failed = unreported.length + sum(reports, failedOf) + sum(last, ({ text }) => countedIn(text).failed);
  return [...unreported, ...reports.flatMap(failuresOf), ...said, `${passed} passed, ${failed} failed`];
}

/** A file that does not even load fails no test of its own. */
const failedOf = ({ numFailedTests, numFailedTestSuites, success }: Report): number =>
  numFailedTests || (success ? 0 : numFailedTestSuites || 1);

function failuresOf({ testResults }: Report): string[] {
  return testResults.flatMap(({ name, status, message, assertionResults }) => [
    ...(status === "failed" && message ? [`FAILED ${name}\n${brief(message)}`] : []),
    ...assertionResults.flatMap(({ fullName, status: its, failureMessages = [] }) =>
      failureMessages.length === 0
        ? []
        : [
            `${its === "passed" ? "PASSED AT ANOTHER TRY" : "FAILED"} ${name}: ${fullName}`,
            ...failureMessages.map((failure) => brief(failure)),
          ],
    ),
  ]);
}

const brief = (text: string): string =>
  text
    .split("\n")
    .filter((line) => !line.includes("/node_modules/"))
    .join("\n")
    .slice(0, 2000);

/** Of a table that broke off: its last words. */
function faultsIn(text: string): string[] {
  // A row or check that was wrong has lines below it, further in, that say what was seen.
  const wrong = [...text.matchAll(/^WRONG .*(?:\n {9}.*)*/gm)].map(([lines]) => lines);
  return isWhole(text) ? wrong : [...wrong, `broke off: ${text.trimEnd().slice(-1_500)}`];
}

/** "1467 passed, 0 failed". */
const SUMS = /^(\d+) passed, (\d+) failed$/m;
const isWhole = (text: string): boolean => SUMS.test(text);

/** A table that broke off is one failure. */
function countedIn(text: string): { readonly passed: number; readonly failed: number } {
  const [, passed, failed] = SUMS.exec(text) ?? [];
  return passed === undefined ? { passed: 0, failed: 1 } : { passed: Number(passed), failed: Number(failed) };
}

function main(folder: string): void {
  const files = readdirSync(folder).sort();
  const textOf = (file: string): string => readFileSync(join(folder, file), "utf8");
  const reports = files
    .filter((file) => /^tests.*\.json$/.test(file))
    .map((file) => JSON.parse(textOf(file)) as Report);
  const tries = files.flatMap((file): TableTry[] => {
    const [, mode, which] = /^table-(\w+)-(\d)\.log$/.exec(file) ?? [];
    return mode === undefined ? [] : [{ mode, try: Number(which), text: textOf(file) }];
  });
  for (const line of totals(reports, tries)) console.log(line);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv[2] ?? ".");
