// Which listener ports a Service gets, and what to say of those it does not: the edge carries HTTP over TCP, and a production
// zone accepts a fixed set of ports. Never silence: each port left out is named in a condition. Pure.
import type { SnapshotService } from "../wire/snapshot.ts";
import type { Conditions } from "./conditions.ts";

/** What a Cloudflare zone accepts. */
const HTTP_PORTS: readonly number[] = [80, 8080, 8880, 2052, 2082, 2086, 2095];
const HTTPS_PORTS: readonly number[] = [443, 8443, 2053, 2083, 2087, 2096];

export type ServicePort = SnapshotService["ports"][number];

export interface ListenerPort {
  readonly port: number;
  readonly tls: boolean;
  /** Where its requests go. */
  readonly to: ServicePort;
}

/** Sorted by port. */
export function listenerPorts(
  service: SnapshotService,
  offered: "standard" | "any",
  conditions: Conditions,
): ListenerPort[] {
  const tcp = service.ports.filter(({ protocol }) => protocol === "TCP").sort((a, b) => a.port - b.port);
  sayWhichProtocols(service, tcp.length, conditions);
  const listeners: ListenerPort[] = [];
  const refused: number[] = [];
  for (const to of tcp) {
    const tls = offered === "any" ? to.port === 443 : HTTPS_PORTS.includes(to.port);
    if (offered === "any" || tls || HTTP_PORTS.includes(to.port)) listeners.push({ port: to.port, tls, to });
    else refused.push(to.port);
  }
  // HTTPS ends at the edge, so every Service has it: { 8080 } => 8080 and 443, both to 8080
  const [first] = tcp;
  if (first !== undefined && !tcp.some(({ port }) => port === 443))
    listeners.push({ port: 443, tls: true, to: tcp.find(({ port }) => port === 80) ?? first });
  if (refused.length > 0) {
    const message =
      `The edge does not open ${refused.length === 1 ? "port" : "ports"} ${refused.join(", ")}. ` +
      `Use one of ${HTTP_PORTS.join(", ")} (HTTP) or ${HTTPS_PORTS.join(", ")} (HTTPS) as spec.ports[].port; targetPort may stay as it is.`;
    conditions.add("PortNotOffered", message, refused);
  }
  return listeners.sort((a, b) => a.port - b.port);
}

/** Kubernetes has a condition of its own for Services that mix protocols (KEP-1435). */
function sayWhichProtocols({ ports }: SnapshotService, tcp: number, conditions: Conditions): void {
  for (const protocol of ["UDP", "SCTP"] as const) {
    const numbers = ports.filter((each) => each.protocol === protocol).map(({ port }) => port);
    if (numbers.length === 0) continue;
    const list = numbers.sort((a, b) => a - b).join(", ");
    const message = `The edge carries HTTP over TCP only: ${protocol} ${numbers.length === 1 ? "port" : "ports"} ${list} cannot be reached through it.`;
    conditions.add(`${protocol}NotSupported`, message);
    if (tcp > 0)
      conditions.set({
        type: "LoadBalancerPortsError",
        status: "True",
        reason: "LoadBalancerMixedProtocolNotSupported",
        message,
      });
  }
}
