// What zod finds wrong with an object, in the words of whoever wrote it: field and remedy. Pure.
import type { z } from "zod";

/** ["spec", "ports", 0, "port"] → "spec.ports[0].port" */
export function fieldName(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (name, part) => name + (typeof part === "number" ? `[${part}]` : `${name === "" ? "" : "."}${String(part)}`),
    "",
  );
}

export function remedy(issue: z.core.$ZodIssue): string {
  if (issue.code === "invalid_union") return "must be a port number from 1 to 65535, or the name of a port";
  if (issue.code === "invalid_type" && issue.expected === "boolean")
    return "must be true or false, as these words, without quotes";
  return issue.message.replace(/^Invalid (input|option): /, "");
}
