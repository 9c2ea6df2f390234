// How a line of the access log reads. Pure.
import type { LogRecord, LogTry } from "../src/shared/control/access-log.ts";
import { printable, webAddress } from "./output.ts";

/** Widths that most values fit in; a longer one moves the rest of its own line. */
const columns = [
  ["TIME", 12],
  ["STATUS", 22],
  ["MS", 6],
  ["METHOD", 6],
  ["URL", 44],
  ["SERVICE", 20],
  ["NODE", 12],
  ["ENDPOINT", 21],
  ["CLIENT", 15],
] as const;
const more = [
  ["BY", 6],
  ["TRIES", 20],
  ["TRACE", 32],
  ["USER-AGENT", 0],
] as const;

export const logHead = (isWide: boolean): string =>
  lineOf(
    isWide,
    [...columns, ...more].map(([title]) => title),
  );

/** Times are this machine's local ones. */
export function logText(request: LogRecord, isWide: boolean): string {
  const { at, ms, status, reason, method, path, service, client, tries, transport, trace, userAgent } = request;
  const { hostname, port, scheme } = request;
  const last = tries.at(-1);
  return lineOf(isWide, [
    timeOf(at),
    reason === null ? String(status) : `${status} ${reason}`,
    String(Math.round(ms)),
    method,
    `${webAddress(hostname, port, scheme === "https")}${path}`,
    service,
    last?.node ?? "-",
    last?.endpoint ?? "-",
    client === "" ? "-" : client,
    transport,
    tries.length === 0 ? "-" : tries.map(tryText).join(","),
    trace ?? "-",
    userAgent ?? "-",
  ]);
}

/** "n1=no-endpoints+12": what came of it, and after how many ms. */
const tryText = ({ node, outcome, ms }: LogTry): string => `${node}=${outcome}+${Math.round(ms)}`;

function lineOf(isWide: boolean, cells: readonly string[]): string {
  const shown: readonly (readonly [string, number])[] = isWide ? [...columns, ...more] : columns;
  const line = shown.map(([, width], at) => printable(cells[at] ?? "").padEnd(width)).join(" ");
  return `${line.trimEnd()}\n`;
}

function timeOf(at: number): string {
  const time = new Date(at);
  return `${time.toTimeString().slice(0, 8)}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}
