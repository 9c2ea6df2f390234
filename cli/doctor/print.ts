// How a report reads: the request's way, hop by hop, and then each finding. Pure.
import { type Check, checks, hops } from "./checks.ts";
import type { HopState, Report } from "./examine.ts";
import type { TraceReport } from "./trace.ts";
import type { Finding, Severity } from "./finding.ts";
import { printable } from "../output.ts";

const marks = { well: "✓", wrong: "✗", unknown: "–" } as const;
const words = { well: "well", wrong: "WRONG", unknown: "unknown" } as const;
const colours = { well: 32, wrong: 31, unknown: 90, error: 31, warning: 33, info: 36 } as const;

/** `colour` false: words say what colours would. */
export function reportText({ hops: states, findings, services, trace }: Report, colour: boolean): string {
  const paint = (text: string, as: keyof typeof colours): string =>
    colour ? `\u001b[${colours[as]}m${text}\u001b[0m` : text;
  const head =
    services.length === 0
      ? ""
      : `${services.length === 1 ? "Service" : "Services"} ${services.slice(0, 10).join(", ")}${services.length > 10 ? ` and ${services.length - 10} more` : ""}\n\n`;
  const width = Math.max(...states.map(({ hop }) => hops[hop].length));
  const line = ({ hop, state, said }: HopState): string => {
    const word = colour ? "" : `  ${words[state].padEnd(7)}`;
    return `${paint(marks[state], state)}${word}  ${hops[hop].padEnd(width)}  ${printable(said)}\n`;
  };
  const body = states.map(line).join("");
  const all = findings.map((each) => findingText(each, paint)).join("\n");
  const end = findings.some(({ severity }) => severity !== "info") ? "" : "\nNothing is wrong.\n";
  return `${head}${body}${trace === undefined ? "" : `\n${traceText(trace)}`}${all === "" ? "" : `\n${all}`}${end}`;
}

/** A line a hop, with its own time. */
function traceText({ id, url, hops: seen, differs }: TraceReport): string {
  const total = seen.reduce((sum, { ms = 0 }) => sum + ms, 0);
  const lines = seen.map(({ hop, ms, said }) => {
    const took = ms === undefined ? "" : `${ms} ms`;
    return `  ${hop.padEnd(10)} ${took.padStart(8)}  ${printable(said)}\n`;
  });
  const end = differs === undefined ? "every hop handed on what it was given" : `first hop that differs: ${differs}`;
  return `GET ${url} in ${total} ms, trace ${id}:\n${lines.join("")}  ${printable(end)}\n`;
}

function findingText(found: Finding, paint: (text: string, as: Severity) => string): string {
  const { id, severity, object, asked, seen, means, mend, page } = found;
  const { title }: Check = checks[id];
  const fields = { asked, seen, means, mend, page };
  const lines = Object.entries(fields).map(([name, text]) => `  ${name.padEnd(6)} ${printable(text)}\n`);
  return `${paint(severity, severity)} ${id}  ${printable(object)}\n  ${title}\n${lines.join("")}`;
}
