// How a command ends that has found something wrong. Pure.
import { exitCodes, Failed } from "../failed.ts";
import { isWrong, type Report } from "./examine.ts";

/** Throws where an error or a warning was found; what is only worth knowing is no failure. */
export function endWith(report: Report): void {
  if (!isWrong(report)) return;
  const bad = report.findings.filter(({ severity }) => severity !== "info");
  const errors = bad.filter(({ severity }) => severity === "error").length;
  const count = (number: number, what: string) => (number === 0 ? [] : [`${number} ${what}${number === 1 ? "" : "s"}`]);
  const said = [...count(errors, "error"), ...count(bad.length - errors, "warning")].join(", ");
  const [first] = bad;
  throw new Failed(`${said}: ${[...new Set(bad.map(({ id }) => id))].join(", ")}`, {
    code: exitCodes.unwell,
    ...(first === undefined ? {} : { next: first.mend }),
  });
}
