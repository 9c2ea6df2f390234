// The addresses of this machine's interfaces, including those that Kubernetes does not know. The device of ipvs mode is none of the
// machine's: it has the addresses of Services.
import { existsSync } from "node:fs";
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";
import { DEVICE as IPVS_DEVICE } from "../ipvs/names.ts";

/** What was read is good for so long, ms: in one sync it is asked for several times, and ipvs' device may have 30,000 addresses. */
const FRESH_MS = 500;

export interface InterfaceAddressesOptions {
  readonly read?: () => Readonly<Record<string, readonly Pick<NetworkInterfaceInfo, "address">[] | undefined>>;
  /** The interface is there, up or not. */
  readonly exists?: (name: string) => boolean;
  /** Monotonic, ms. */
  readonly now?: () => number;
}

/**
 * Node.js leaves out an interface that has no carrier at the moment (a cable, a switch that restarts), but the kernel keeps its addresses: they
 * stay in the answer as long as the interface is there. Were they left out, ipvs' servers on them would go, and their connections.
 */
export function interfaceAddresses({
  read = networkInterfaces,
  exists = (name) => existsSync(`/sys/class/net/${name}`),
  now = () => performance.now(),
}: InterfaceAddressesOptions = {}): () => readonly string[] {
  let known = new Map<string, readonly string[]>();
  let found: readonly string[] = [];
  let readAt = Number.NEGATIVE_INFINITY;
  return () => {
    if (now() - readAt < FRESH_MS) return found;
    readAt = now();
    const next = new Map([...known].filter(([name]) => exists(name)));
    for (const [name, of = []] of Object.entries(read()))
      if (name !== IPVS_DEVICE)
        next.set(
          name,
          of.map(({ address }) => address),
        );
    known = next;
    found = [...next.values()].flat();
    return found;
  };
}
