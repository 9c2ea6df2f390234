// A Service and all that is asked of it.
import type { ServiceSpec } from "../objects.ts";
import type { Line } from "../row.ts";

export interface Section {
  /** What it is about, for the printed table. */
  readonly title: string;
  readonly service: ServiceSpec;
  readonly lines: readonly Line[];
}
