// Where everything of the world is: three nodes on a LAN, two pods on each, two clients and a gateway on the LAN. Plain
// data, no effects. The ranges are other ones than those of `npm run cluster:up`, so that nobody mistakes one for the other.
import type { Family } from "./row.ts";

/** A network namespace, and a process in it that serves and asks (resident.ts). */
export interface Place {
  readonly name: string;
  readonly addresses: Readonly<Record<Family, string>>;
}

export interface NodePlace extends Place {
  /** On the same interface, but not in the Node object. */
  readonly secondary: Readonly<Record<Family, string>>;
  readonly podRanges: Readonly<Record<Family, string>>;
  /** What its pods' default routes lead to; what they see when the node itself asks. */
  readonly podGateway: Readonly<Record<Family, string>>;
  readonly zone: string;
  readonly pods: readonly Place[];
}

const both = (IPv4: string, IPv6: string): Record<Family, string> => ({ IPv4, IPv6 });
const lan = (host: number): Record<Family, string> => both(`10.91.0.${host}`, `fd91::${host}`);

/** Its namespace is the one that the whole run is in; it owns the LAN's bridge. */
export const control = { bridge: "lan", addresses: lan(1) } as const;
/** Where the run is itself when the control plane is in another machine than the rest (vm.ts). */
export const runner = { addresses: lan(2) } as const;
export const lanPrefix = both("/24", "/64");

/** All pods: what `clusterCIDR` says. */
export const podRange = both("10.201.0.0/16", "fd92::/48");
export const serviceRange = both("10.97.0.0/16", "fd97::/112");
const balancerRange = both("10.98.0.0/24", "fd98::/112");
const externalRange = both("10.99.0.0/24", "fd99::/112");
/** What the clients outside send to the node that they have chosen. */
export const rangesOfServices = [serviceRange, balancerRange, externalRange];

function node(name: string, index: number, zone: string): NodePlace {
  const inNode = (host: number): Record<Family, string> =>
    both(`10.201.${index}.${host}`, `fd92:0:0:${index}::${host}`);
  return {
    name,
    addresses: lan(10 + index),
    secondary: lan(20 + index),
    podRanges: both(`10.201.${index}.0/24`, `fd92:0:0:${index}::/64`),
    podGateway: inNode(1),
    zone,
    pods: [1, 2].map((number) => ({ name: `${name}${number}`, addresses: inNode(10 + number) })),
  };
}

export const nodes: readonly NodePlace[] = [node("a", 1, "z1"), node("b", 2, "z1"), node("c", 3, "z2")];

/** Where the nodes' default routes lead. It answers on every address: what no rule has caught is seen there. */
export const gateway: Place = { name: "gateway", addresses: lan(254) };

/** Clients that are no part of the cluster; each sends what is for Services to the node after which it is named. */
export const outsides: readonly (Place & { readonly via: NodePlace })[] = nodes.map((via, index) => ({
  name: `out-${via.name}`,
  addresses: lan(101 + index),
  via,
}));

export const places: readonly Place[] = [...nodes, ...nodes.flatMap(({ pods }) => pods), ...outsides, gateway];

/** What a pod sees instead of the asker where a node has masqueraded. */
export const nodeAddresses: ReadonlySet<string> = new Set(
  nodes.flatMap(({ addresses, secondary, podGateway }) =>
    [addresses, secondary, podGateway].flatMap((each) => Object.values(each)),
  ),
);

export function placeOf(name: string): Place {
  const found = places.find((place) => place.name === name);
  if (found === undefined)
    throw new Error(`there is no place ${name}; there are ${places.map((p) => p.name).join(" ")}`);
  return found;
}

export function nodeOf(name: string): NodePlace {
  const found = nodes.find((node) => node.name === name);
  if (found === undefined) throw new Error(`there is no node ${name}`);
  return found;
}

/** Where pods listen. */
export const POD_PORT = 8080;
export const SERVICE_PORT = 80;
/** No Service has it; what is sent to it, the gateway answers. */
export const OTHER_PORT = 81;

/** The addresses of the Service with this number; NodePorts are below those that the API server gives by itself. */
export const serviceAddresses = (number: number) => ({
  clusterIP: both(`10.97.0.${10 + number}`, `fd97::${10 + number}`),
  balancer: both(`10.98.0.${10 + number}`, `fd98::${10 + number}`),
  external: both(`10.99.0.${10 + number}`, `fd99::${10 + number}`),
  nodePort: 30_000 + number,
});
/** In the Services' range; no Service has it. */
export const unallocated = both("10.97.200.200", "fd97::c8c8");
