// targetPort against the ports of the containers. Pure.
import type { Facts } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { nearest } from "../nearest.ts";
import { named, patch, type Subject } from "../subject.ts";

interface ContainerPort {
  readonly name: string;
  readonly containerPort: number;
  readonly protocol: string;
}

/** Of the Service's pods, and where it has none yet, of the templates that would make them. */
export function containerPorts({ pods, workloads }: Pick<Subject, "pods" | "workloads">): readonly ContainerPort[] {
  const from = pods.length > 0 ? pods : workloads;
  return from.flatMap(({ containers }) => containers.flatMap(({ ports }) => ports));
}

export function portFindings(subject: Subject, _facts: Facts): Finding[] {
  const { ports, pods, workloads, object, selector } = subject;
  if (subject.stance !== "ours" || Object.keys(selector).length === 0 || pods.length + workloads.length === 0)
    return [];
  const listed = containerPorts(subject);
  return ports.flatMap(({ port, protocol, targetPort }) => {
    if (protocol !== "TCP") return [];
    const same = listed.filter((each) => each.protocol === protocol);
    if (typeof targetPort === "string") {
      if (same.some(({ name }) => name === targetPort)) return [];
      const names = [...new Set(same.map(({ name }) => name).filter((name) => name !== ""))];
      const meant = nearest(targetPort, names) ?? names[0] ?? same[0]?.containerPort;
      const shown = names.length === 0 ? "no container names a port" : `the containers' are ${names.join(", ")}`;
      return [
        finding(
          "target-port-name-missing",
          "error",
          object,
          `port ${port} has targetPort ${targetPort}; ${shown}`,
          meant === undefined ? `kubectl edit ${named(subject)}` : setTarget(subject, port, meant),
        ),
      ];
    }
    const number = targetPort ?? port;
    if (same.length === 0 || same.some(({ containerPort }) => containerPort === number)) return [];
    const numbers = [...new Set(same.map(({ containerPort }) => containerPort))].sort((a, b) => a - b);
    const seen = `port ${port} has targetPort ${number}; the containers list ${numbers.join(", ")}`;
    return [finding("target-port-unlisted", "info", object, seen, setTarget(subject, port, numbers[0] ?? number))];
  });
}

/** Strategic merge finds the entry by its port. */
export const setTarget = (subject: Subject, port: number, targetPort: number | string): string =>
  patch(subject, { spec: { ports: [{ port, targetPort }] } }).replace("--type merge", "--type strategic");
