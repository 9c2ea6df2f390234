// By what name the plan, and whoever reads it, knows a Service: "namespace/name". Pure.
import { compareText } from "../../src/shared/sorted.ts";
import type { KubeEndpointSlice, KubeService } from "../source/resources.ts";

/**
 * Each is made once for an object. Whoever looks up ten thousand Services by names made anew spends most of his time on
 * making them.
 */
const keys = new WeakMap<object, string>();
function known(object: object, make: () => string): string {
  let key = keys.get(object);
  if (key === undefined) keys.set(object, (key = make()));
  return key;
}

export const keyOf = (service: KubeService): string =>
  known(service, () => `${service.metadata.namespace}/${service.metadata.name}`);

/** Of the Service that the slice is of. Undefined: of none. */
export function ownerOf(slice: KubeEndpointSlice): string | undefined {
  const service = slice.metadata.labels["kubernetes.io/service-name"];
  return service === undefined ? undefined : known(slice, () => `${slice.metadata.namespace}/${service}`);
}

/** As Services are sorted in what is observed and in plans. */
export const byKey = (a: { readonly key: string }, b: { readonly key: string }): number =>
  compareText(a.key.replace("/", "\0"), b.key.replace("/", "\0"));
