// The ports that a Service offers, whatever its kind: its own, or for a headless Service or ExternalName without any, those
// of the annotation postern.dev/ports (80 and 443 by default). Pure.
import type { KubeService } from "../source/resources.ts";
import type { OfferedPort } from "./annotations.ts";
import { isHeadless } from "./eligible.ts";
import { portKey } from "./endpoints.ts";

export interface ServicePortPlan {
  readonly key: string;
  readonly name: string;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly port: number;
  readonly nodePort: number | undefined;
  readonly targetPort: number | string | undefined;
  /** "" where the Service does not say. */
  readonly appProtocol: string;
}

/** Sorted by port, then protocol. */
export function servicePorts(service: KubeService, offered: readonly OfferedPort[]): readonly ServicePortPlan[] {
  const { ports, type } = service.spec;
  if (ports.length === 0) {
    if (type !== "ExternalName" && !isHeadless(service)) return [];
    return offered.map(({ port, target }) => ({
      key: portKey("TCP", port),
      name: "",
      protocol: "TCP",
      port,
      nodePort: undefined,
      targetPort: target,
      appProtocol: "",
    }));
  }
  return ports
    .map(({ name, protocol, port, nodePort, targetPort, appProtocol }) => ({
      key: portKey(protocol, port),
      name,
      protocol,
      port,
      // 0 is how "none" is written sometimes.
      nodePort: nodePort === 0 ? undefined : nodePort,
      targetPort,
      appProtocol,
    }))
    .sort((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1));
}
