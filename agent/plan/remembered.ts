// What was made of a Service, kept while it would come out the same: sources hand out the same objects until they change, and
// among a thousand Services one changes at a time. Owns the memory, weakly: it goes with the Service's object. What it
// gives is exactly what `make` would; `make` must depend on the Service, its slices and `rest` alone.
import type { KubeEndpointSlice, KubeService } from "../source/resources.ts";

type Slices = readonly KubeEndpointSlice[];

/** `rest`: everything else that the result depends on, as text. */
export function remembered<Result>(): (
  service: KubeService,
  slices: Slices,
  rest: string,
  make: () => Result,
) => Result {
  const memory = new WeakMap<
    KubeService,
    { readonly slices: Slices; readonly rest: string; readonly result: Result }
  >();
  return (service, slices, rest, make) => {
    const known = memory.get(service);
    if (known !== undefined && known.rest === rest && areSame(known.slices, slices)) return known.result;
    const result = make();
    memory.set(service, { slices, rest, result });
    return result;
  };
}

const areSame = (a: Slices, b: Slices): boolean => a.length === b.length && a.every((slice, at) => slice === b[at]);
