// Which hostnames a Service has: one by default, and those of its annotation. A default name is one label below the edge domain,
// because free certificates cover one level; and it never changes because of another Service that comes or goes: labels once
// given are passed in (`assigned`) and handed back. Pure; who else in the deployment owns a name is passed in, too (`refused`).
import { hash32 } from "../../shared/balance/hash.ts";
import { annotation } from "../../shared/model/annotations.ts";
import type { SnapshotService } from "../../shared/model/snapshot.ts";
import type { Conditions } from "./conditions.ts";

export interface NamesContext {
  readonly cluster: string;
  readonly edgeDomain: string;
  /** Service UID → default label that it has had. */
  readonly assigned: Readonly<Record<string, string>>;
  /** Hostnames that the directory refuses to this cluster, and why. */
  readonly refused: ReadonlyMap<string, { readonly reason: string; readonly message: string }>;
}

const LABEL_MAX = 63;
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** UID → label. `services` oldest first: where two want the same, the older one gets it. */
export function defaultLabels(services: readonly SnapshotService[], context: NamesContext): Map<string, string> {
  const { edgeDomain, assigned, refused } = context;
  const labels = new Map<string, string>();
  const taken = new Set<string>();
  const give = (uid: string, label: string): void => {
    labels.set(uid, label);
    taken.add(label);
  };
  for (const { uid } of services) {
    const label = assigned[uid];
    if (label !== undefined && !taken.has(label) && !refused.has(`${label}.${edgeDomain}`)) give(uid, label);
  }
  const ownNames = new Set<string>();
  for (const service of services) {
    if (!labels.has(service.uid)) {
      const free = candidates(service, context.cluster).find((label) => {
        const hostname = `${label}.${edgeDomain}`;
        return !taken.has(label) && !refused.has(hostname) && !ownNames.has(hostname);
      });
      if (free !== undefined) give(service.uid, free);
    }
    for (const hostname of service.hostnames) if (!refused.has(hostname)) ownNames.add(hostname);
  }
  return labels;
}

/** "shop-default-home", and where that is taken, refused or no label: "shop-default-home-1f2e3d4c", cut before the cluster. */
function candidates({ name, namespace }: SnapshotService, cluster: string): string[] {
  const readable = `${name}-${namespace}-${cluster}`;
  const hashed = [0, 1, 2].map((round) => {
    const hash = hash32(`${cluster}/${namespace}/${name}${round === 0 ? "" : `/${round}`}`);
    const ending = `-${cluster}-${hash.toString(16).padStart(8, "0")}`;
    const start = `${name}-${namespace}`.toLowerCase().replace(/[^a-z0-9-]/g, "-");
    return start.slice(0, LABEL_MAX - ending.length).replace(/^-+|-+$/g, "") + ending;
  });
  return LABEL.test(readable) ? [readable, ...hashed] : hashed;
}

/** All hostnames of one Service, the default one first. `owners`: default hostname → UID, of all Services. */
export function serviceHostnames(
  service: SnapshotService,
  label: string | undefined,
  owners: ReadonlyMap<string, string>,
  { edgeDomain, refused }: NamesContext,
  conditions: Conditions,
): string[] {
  const names: string[] = [];
  if (label === undefined)
    conditions.add("HostnameConflict", `No default name is free for this Service below ${edgeDomain}.`);
  else names.push(`${label}.${edgeDomain}`);
  for (const hostname of [...new Set(service.hostnames)].sort()) {
    const refusal = refused.get(hostname);
    const owner = owners.get(hostname);
    if (refusal !== undefined) {
      const type = refusal.reason === "owned" ? "HostnameConflict" : "HostnameNotAllowed";
      conditions.add(type, `Annotation ${annotation.hostname}: ${refusal.message}.`);
    } else if (owner !== undefined && owner !== service.uid) {
      const message = `Annotation ${annotation.hostname}: ${hostname} is another Service's default name; choose another.`;
      conditions.add("HostnameConflict", message);
    } else if (!names.includes(hostname)) names.push(hostname);
  }
  return names;
}
