// The fenced blocks of a document, and the commands of those that are for a shell. Pure.

export interface Block {
  readonly document: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
  /** What stands behind the opening fence; "" for nothing. */
  readonly language: string;
  readonly text: string;
}

export interface Command {
  readonly document: string;
  readonly line: number;
  /** As it is pasted, here-documents and continued lines with it. */
  readonly text: string;
  /** Its first line, without a comment behind it: the name by which the table knows it. */
  readonly key: string;
}

/** Fences may be indented, as in a list: so much is taken off each line. Throws for a fence that nothing closes. */
export function blocksOf(document: string, markdown: string): Block[] {
  const found: Block[] = [];
  let open: { line: number; indent: string; language: string; lines: string[] } | undefined;
  markdown.split("\n").forEach((text, at) => {
    const [, indent = "", language = ""] = /^( *)```(.*)$/.exec(text) ?? [];
    const isFence = /^ *```/.test(text);
    if (open === undefined) {
      if (isFence) open = { line: at + 1, indent, language: language.trim(), lines: [] };
    } else if (isFence) {
      found.push({ document, line: open.line, language: open.language, text: open.lines.join("\n") });
      open = undefined;
    } else open.lines.push(text.startsWith(open.indent) ? text.slice(open.indent.length) : text);
  });
  if (open !== undefined) throw new Error(`${document}:${open.line}: this block is not closed`);
  return found;
}

/** `sh`: each line is one, but for empty ones and comments. `console`: lines after "$ " are, all others are what is printed. */
export function commandsOf({ document, line, language, text }: Block): Command[] {
  if (language !== "sh" && language !== "console") return [];
  const lines = text.split("\n");
  const found: Command[] = [];
  for (let at = 0; at < lines.length; at++) {
    const begin = at;
    const first = language === "sh" ? (lines[at] ?? "") : (/^\$ (.*)$/.exec(lines[at] ?? "")?.[1] ?? "");
    if (/^\s*(#|$)/.test(first)) continue;
    const parts = [first];
    while (parts.at(-1)?.endsWith("\\") === true && at + 1 < lines.length) parts.push(lines[++at] ?? "");
    const end = /<<-?'?(\w+)'?/.exec(first)?.[1];
    if (end !== undefined)
      do parts.push(lines[++at] ?? "");
      while (parts.at(-1) !== end && at + 1 < lines.length);
    const key = first.replace(/\s+# .*$/, "").replace(/\s*\\$/, "");
    found.push({ document, line: line + 1 + begin, text: parts.join("\n"), key });
  }
  return found;
}
