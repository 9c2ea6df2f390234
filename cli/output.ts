// What is printed: a table for people, or the same facts for programs. Pure.
import { stringify } from "yaml";

export const formats = ["table", "wide", "json", "yaml"] as const;
export type Format = (typeof formats)[number];

export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Columns as wide as their widest cell, two spaces between them, as kubectl's. "" where there is no row: say why instead. */
export function tableText({ columns, rows }: Table): string {
  if (rows.length === 0) return "";
  const all = [columns, ...rows.map((row) => row.map(printable))];
  const widths = columns.map((_, at) => Math.max(...all.map((row) => (row[at] ?? "").length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join("  ")
      .trimEnd();
  return all.map((row) => `${line(row)}\n`).join("");
}

/** Words of an edge, or of whatever answered in its place, must not steer the terminal. */
export const printable = (text: string): string => text.replaceAll(/\p{Cc}+/gu, " ");

/** "https://web.test", "http://web.test:8080" */
export const webAddress = (hostname: string, port: number, tls: boolean): string =>
  `${tls ? "https" : "http"}://${hostHeader(hostname, port, tls)}`;

/** "web.test", "web.test:8080": the port is left out where it is the scheme's own. */
export const hostHeader = (hostname: string, port: number, tls: boolean): string =>
  port === (tls ? 443 : 80) ? hostname : `${hostname}:${port}`;

/** `json` is one value and a line's end. */
export const dataText = (format: "json" | "yaml", value: unknown): string =>
  format === "json" ? `${JSON.stringify(value, null, 2)}\n` : stringify(value);
