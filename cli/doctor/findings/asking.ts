// What could not be asked, and so was not examined. Pure.
import type { Facts } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";

export function askingFindings({ kube, edge, only, isOutside = false }: Facts): Finding[] {
  const found = kube.unread.map(({ what, why }) =>
    finding(
      "rights-missing",
      "warning",
      `Kubernetes ${what}`,
      why,
      /forbidden/i.test(why)
        ? `kubectl auth can-i list ${what.split(" ")[0]} -A   # ask the cluster's admin for that right`
        : "kubectl cluster-info",
    ),
  );
  const canSee = !isOutside && !kube.unread.some(({ what }) => what === "services" || what === "everything");
  if (
    only !== undefined &&
    canSee &&
    kube.services.every(({ metadata }) => `${metadata.namespace}/${metadata.name}` !== only)
  ) {
    const [namespace = ""] = only.split("/");
    const others = kube.services.map(({ metadata }) => metadata.name).slice(0, 5);
    const there = others.length === 0 ? "that namespace has none" : `that namespace has ${others.join(", ")}`;
    found.push(
      finding(
        "service-missing",
        "error",
        `Service ${only}`,
        `not found; ${there}`,
        `kubectl -n ${namespace} get services`,
      ),
    );
  }
  if (only !== undefined && isOutside && edge?.table?.routes.every(({ service }) => service !== only) === true)
    found.push(
      finding(
        "service-missing",
        "error",
        `Service ${only}`,
        "the edge's table has no listener of it",
        `postern doctor ${only}   # asks Kubernetes as well`,
      ),
    );
  // The probe is the owner's and the admin's: an agent's token reads the rest.
  for (const { asked, why, status } of edge?.refusals ?? [])
    if (status !== undefined && isMinor(asked, status))
      found.push(
        finding("rights-missing", "warning", `Edge ${edge?.url}`, `${asked}: ${why}`, `postern login ${edge?.url}`),
      );
  return found;
}

/** The probe alone: an agent's token may not, and an older edge has none. */
export const isMinor = (asked: string, status: number): boolean =>
  asked.endsWith("/probe") && (status === 403 || status === 404 || status === 429 || status >= 500);
