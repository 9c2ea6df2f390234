// Which cluster may claim which hostname: the rule of the directory, as a pure decision. Owners and members are the
// GatewayObject's rows; here is only what a name's form allows.

export interface NameRules {
  readonly edgeDomain: string;
  /** With port, as in the setting. */
  readonly adminHost: string;
  /** Names of all clusters of the deployment. */
  readonly clusters: readonly string[];
}

export type NameVerdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly reason: "reserved" | "not-allowed"; readonly message: string };

/** Labels directly below the edge domain that no Service may take, whatever a cluster was granted. */
const RESERVED_LABELS = new Set(["admin", "api"]);
/** What compile() appends to a default label that is ambiguous or cut. */
const HASHED = /^(.+)-[0-9a-f]{8}$/;

/**
 * `patterns`: what the admin granted `cluster`: exact names, or "*.example.com" for any depth below it.
 * Default names need no grant: shop-default-home.edge.test belongs to cluster home, and to no other cluster even if granted
 * "*.edge.test", for a cluster's default address must not depend on who came first.
 */
export function nameVerdict(
  hostname: string,
  cluster: string,
  patterns: readonly string[],
  rules: NameRules,
): NameVerdict {
  const label = labelBelow(hostname, rules.edgeDomain);
  const admin = rules.adminHost.replace(/:\d+$/, "");
  if (hostname === admin || hostname.endsWith(`.${admin}`) || hostname === rules.edgeDomain)
    return { allowed: false, reason: "reserved", message: `${hostname} is the edge's own name: choose another` };
  if (label !== undefined && RESERVED_LABELS.has(label))
    return { allowed: false, reason: "reserved", message: `${hostname} is reserved for the edge: choose another` };
  if (patterns.includes(hostname)) return { allowed: true };
  if (label !== undefined) {
    const home = defaultOwner(label, rules.clusters);
    if (home === cluster) return { allowed: true };
    if (home === undefined && HASHED.exec(label)?.[1]?.endsWith(`-${cluster}`)) return { allowed: true };
    if (home !== undefined) return notGranted(hostname, cluster);
  }
  if (patterns.some((pattern) => pattern.startsWith("*.") && hostname.endsWith(pattern.slice(1))))
    return { allowed: true };
  return notGranted(hostname, cluster);
}

/** One message whether another cluster has the name, may have it by default, or nobody has it: it must not tell who else is here. */
function notGranted(hostname: string, cluster: string): NameVerdict {
  return {
    allowed: false,
    reason: "not-allowed",
    message: `cluster ${cluster} was not granted ${hostname}: the edge's admin lists it in the cluster's hostnames`,
  };
}

/** "a.b" below "b" is "a"; deeper names and others have none. */
function labelBelow(hostname: string, domain: string): string | undefined {
  if (!hostname.endsWith(`.${domain}`)) return undefined;
  const label = hostname.slice(0, -domain.length - 1);
  return label.includes(".") ? undefined : label;
}

/** Of clusters "b" and "a-b", shop-a-b belongs to the longer: else b could take every default name of a-b. */
function defaultOwner(label: string, clusters: readonly string[]): string | undefined {
  let owner: string | undefined;
  for (const name of clusters)
    if (label.endsWith(`-${name}`) && label.length > name.length + 1 && name.length > (owner?.length ?? 0))
      owner = name;
  return owner;
}
