// What commands read of their arguments and options alike. Pure.
import { InvalidArgumentError } from "commander";
import { clusterNameSchema } from "../src/shared/control/requests.ts";
import { exitCodes, Failed } from "./failed.ts";

/** A number of things or of seconds. */
export function whole(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

/** Of an option that may be given several times. */
export const gathered = (value: string, before: readonly string[]): string[] => [...before, value];

/** Before anything is asked: a name that cannot be is no cluster that is missing. */
export function checkName(name: string): void {
  const parsed = clusterNameSchema.safeParse(name);
  if (parsed.success) return;
  throw new Failed(`${name}: ${parsed.error.issues[0]?.message}`, {
    next: "choose another name",
    code: exitCodes.usage,
  });
}
