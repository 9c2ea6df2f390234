// The order in which a source hands out objects. Pure.
import { compareText } from "../../src/shared/sorted.ts";

export interface Named {
  /** `namespace`: absent where objects of the kind have none. */
  readonly metadata: { readonly name: string; readonly namespace?: string | undefined };
}

/** By namespace, then name: "a/b" comes before "a-b/c". Of objects of one kind. */
export const byName = ({ metadata: a }: Named, { metadata: b }: Named): number =>
  compareText(a.namespace ?? "", b.namespace ?? "") || compareText(a.name, b.name);
