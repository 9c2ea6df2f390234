// Which Services are ours to expose, and as what. Pure.
// What an ExternalName may lead to is external-name.ts's.
import type { KubeService } from "../source/resources.ts";
import { CLASS } from "../../src/shared/model/annotations.ts";
import { wantsExposure } from "./annotations.ts";

export interface EligibilityOptions {
  /** Take Services without a class as well: --default-class. */
  readonly defaultClass: boolean;
  /** Name suffixes ("lan", "nas.example.com") and CIDRs: --allow-external-name. */
  readonly allowExternalName: readonly string[];
  /** Such as cluster.local. */
  readonly clusterDomain: string;
}

export type ExposedKind = "LoadBalancer" | "Headless" | "ExternalName";

/** Undefined where the Service is none of ours. */
export function exposedAs(service: KubeService, options: EligibilityOptions): ExposedKind | undefined {
  const { spec, metadata } = service;
  // On its way out: the edge lets go of it before its finalizer does.
  if (metadata.deletionTimestamp !== undefined) return undefined;
  if (spec.type === "LoadBalancer") {
    const ours = spec.loadBalancerClass === undefined ? options.defaultClass : spec.loadBalancerClass === CLASS;
    return ours ? "LoadBalancer" : undefined;
  }
  if (!wantsExposure(service)) return undefined;
  if (spec.type === "ExternalName") return "ExternalName";
  return isHeadless(service) ? "Headless" : undefined;
}

export const isHeadless = ({ spec }: KubeService): boolean =>
  spec.type === "ClusterIP" && (spec.clusterIP === "None" || spec.clusterIPs[0] === "None");
