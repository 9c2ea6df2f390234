// Which listener ports a Service gets, and what to say of those it does not: the edge carries HTTP over TCP, a production zone
// accepts a fixed set of ports, an edge of one's own those that its owner lists, and TLS only where it ends there. Each
// port that is left out is named in a condition, with what works instead. Pure.
import { mixedProtocols } from "../../shared/model/conditions.ts";
import type { SnapshotService } from "../../shared/model/snapshot.ts";
import type { Conditions } from "./conditions.ts";
import { inRanges, type PortRanges, parsePortRanges } from "./port-ranges.ts";

/** What a Cloudflare zone accepts. */
const HTTP_PORTS: readonly number[] = [80, 8080, 8880, 2052, 2082, 2086, 2095];
const HTTPS_PORTS: readonly number[] = [443, 8443, 2053, 2083, 2087, 2096];

export type ServicePort = SnapshotService["ports"][number];

/** What the edge opens. */
export interface ListenerSettings {
  /** "standard": a zone's ports; "any"; or a list (port-ranges.ts). */
  readonly listenerPorts: string;
  /** How many ports one cluster may have; absent: any number. */
  readonly listenerPortsMost?: number | undefined;
  /** False: nothing here ends TLS. Absent: true. */
  readonly listenerTls?: boolean | undefined;
}

export interface ListenerPort {
  readonly port: number;
  readonly tls: boolean;
  /** Where its requests go. */
  readonly to: ServicePort;
}

/** Decides for all Services of a cluster, oldest first. */
export class ListenerPorts {
  readonly #standard: boolean;
  /** Undefined: all. */
  readonly #ranges: PortRanges | undefined;
  readonly #text: string;
  readonly #most: number;
  readonly #tls: boolean;
  readonly #taken = new Set<number>();

  constructor({ listenerPorts, listenerPortsMost, listenerTls }: ListenerSettings) {
    this.#standard = listenerPorts === "standard";
    this.#text = listenerPorts;
    this.#most = listenerPortsMost ?? Number.POSITIVE_INFINITY;
    this.#tls = listenerTls ?? true;
    if (this.#standard || listenerPorts === "any") return;
    this.#ranges = parsePortRanges(listenerPorts);
    if (this.#ranges === undefined)
      throw new Error(
        `LISTENER_PORTS must be "standard", "any" or a list such as "80,8000-8999", not "${listenerPorts}"`,
      );
  }

  /** Sorted by port. */
  of(service: SnapshotService, conditions: Conditions): ListenerPort[] {
    const tcp = service.ports.filter(({ protocol }) => protocol === "TCP").sort((a, b) => a.port - b.port);
    sayWhichProtocols(service, tcp.length, conditions);
    const listeners: ListenerPort[] = [];
    const left: Record<"tls" | "offered" | "most", number[]> = { tls: [], offered: [], most: [] };
    for (const to of tcp) {
      const { port } = to;
      const tls = this.#standard ? HTTPS_PORTS.includes(port) : port === 443;
      if (tls && !this.#tls) {
        if (!isByDefault(service)) left.tls.push(port);
      } else if (!this.#offered(port)) left.offered.push(port);
      else if (!this.#taken.has(port) && this.#taken.size >= this.#most) left.most.push(port);
      else {
        this.#taken.add(port);
        listeners.push({ port, tls, to });
      }
    }
    // Where HTTPS ends at the edge every Service has it: { 8080 } => 8080 and 443, both to 8080
    const [first] = tcp;
    if (this.#tls && first !== undefined && !tcp.some(({ port }) => port === 443))
      listeners.push({ port: 443, tls: true, to: tcp.find(({ port }) => port === 80) ?? first });
    this.#sayWhatIsLeft(left, conditions);
    return listeners.sort((a, b) => a.port - b.port);
  }

  #offered(port: number): boolean {
    if (this.#standard) return HTTP_PORTS.includes(port) || HTTPS_PORTS.includes(port);
    return this.#ranges === undefined || inRanges(this.#ranges, port);
  }

  #sayWhatIsLeft({ tls, offered, most }: Record<"tls" | "offered" | "most", number[]>, conditions: Conditions): void {
    const say = (ports: readonly number[], message: string) => {
      if (ports.length > 0) conditions.add("PortNotOffered", message, [...new Set([...tls, ...offered, ...most])]);
    };
    say(
      tls,
      `This edge has no certificates, so nothing listens on port 443. Give the Service a port 80 (or 8080) beside it, with the ` +
        `targetPort that speaks plain HTTP; for https:// put a TLS proxy in front of the edge that passes to that port, and name ` +
        `the proxy to the edge (npm run edge -- --trusted-proxy).`,
    );
    const use = this.#standard
      ? `Use one of ${HTTP_PORTS.join(", ")} (HTTP) or ${HTTPS_PORTS.join(", ")} (HTTPS) as spec.ports[].port; targetPort may stay as it is.`
      : `Use one of ${this.#text.replaceAll(",", ", ")} as spec.ports[].port (targetPort may stay as it is), or have the edge's owner ` +
        `offer more (npm run edge -- --listener-ports).`;
    say(offered, `The edge does not open ${portsOf(offered)}. ${use}`);
    say(
      most,
      `The edge opens ${this.#most} ports for a cluster, which older Services have, so it does not open ${portsOf(most)}. Use a port ` +
        `that another Service has, for names tell them apart, or have the edge's owner list the ports that may be opened ` +
        `(npm run edge -- --listener-ports).`,
    );
  }
}

/**
 * Whether these are the default ports of a Service without ports, 80 and 443 (postern.dev/ports). Several ports of a Service's own
 * have names. Nobody asked for 443 then, so no condition is needed.
 */
const isByDefault = ({ ports }: SnapshotService): boolean => ports.length > 1 && ports.every(({ name }) => name === "");

/** "port 80", "ports 80, 81" */
function portsOf(ports: readonly number[]): string {
  return `${ports.length === 1 ? "port" : "ports"} ${ports.join(", ")}`;
}

/** Kubernetes has a condition of its own for Services that mix protocols (KEP-1435). */
function sayWhichProtocols({ ports }: SnapshotService, tcp: number, conditions: Conditions): void {
  for (const protocol of ["UDP", "SCTP"] as const) {
    const numbers = ports.filter((each) => each.protocol === protocol).map(({ port }) => port);
    if (numbers.length === 0) continue;
    const message = `The edge carries HTTP over TCP only: ${protocol} ${portsOf(numbers.sort((a, b) => a - b))} cannot be reached through it.`;
    conditions.add(`${protocol}NotSupported`, message);
    if (tcp > 0) conditions.set(mixedProtocols(message));
  }
}
