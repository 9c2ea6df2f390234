// The table as it is printed. Pure.
import type { Checked } from "./changes/stage.ts";
import type { Played } from "./play.ts";
import type { Case } from "./row.ts";

/** "internal-local   a2 → ClusterIP  IPv6 UDP  a1". */
export const lineOf = ({ row, family, protocol, expected }: Case): string =>
  `${row.service.padEnd(18)} ${`${row.from} → ${row.to}`.padEnd(30)} ${family} ${protocol}  ${expected.text}`;

export function printed({ case: each, right, seen, again }: Played): string {
  const mark = right ? "  ok  " : "WRONG ";
  const line = `${mark} ${lineOf(each)}`;
  if (right && again === undefined) return line;
  const reason = each.row.because === undefined ? "" : `\n         because: ${each.row.because}`;
  const first = again === undefined ? "" : `; at the first try: ${counted(again)}`;
  return `${line}\n         seen: ${counted(seen)}${first}${right ? "" : reason}`;
}

export function printedCheck({ change, check, expected, seen, right, because }: Checked): string {
  const line = `${right ? "  ok  " : "WRONG "} ${change}: ${check}: ${expected}`;
  return right
    ? line
    : `${line}\n         seen: ${seen}${because === undefined ? "" : `\n         because: ${because}`}`;
}

/** "a1 ×7, drop ×1". */
const counted = (seen: ReadonlyMap<string, number>): string =>
  [...seen].map(([word, count]) => `${word} ×${count}`).join(", ");
