// The Source contract: where the agent learns what the cluster looks like. Two implementations: files (a folder of
// YAML) and kube (list-watch on the API server). Both deliver the same Observed, whole, never a delta.
import type { KubeEndpointSlice, KubeNode, KubeService, KubeServiceCIDR } from "./resources.ts";

/** Everything the agent looks at, at one moment. Immutable: a change is a new object. Sorted by namespace, then name. */
export interface Observed {
  readonly services: readonly KubeService[];
  readonly endpointSlices: readonly KubeEndpointSlice[];
  readonly nodes: readonly KubeNode[];
  /** Also those that are being deleted. Empty where nobody asked for them, or where the API server has none (before Kubernetes 1.33). */
  readonly serviceCIDRs: readonly KubeServiceCIDR[];
}

/** Input that could not be used. The last good version of what it describes stays in Observed. */
export interface SourceProblem {
  /** File and line, or API object: what to open. */
  readonly where: string;
  /** Names the field and the remedy. */
  readonly message: string;
}

export interface Source {
  /**
   * Calls `listener` once all kinds of object have been read, then after each change (changes may be merged).
   * Never before the first complete read; ServiceCIDRs alone may come later. Problems go to `onProblems`, all current ones each time they change.
   * Disposing stops it; no call comes afterwards.
   */
  subscribe(
    listener: (observed: Observed) => void,
    onProblems?: (problems: readonly SourceProblem[]) => void,
  ): Disposable;
}
