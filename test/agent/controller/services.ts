// Services as the agent has parsed them, for tests of what to write to them: ours, marked and served, changed by parts.
import { FINALIZER, MANAGER } from "../../../agent/controller/status.ts";
import { type KubeService, serviceSchema } from "../../../agent/source/resources.ts";
import type { Condition } from "../../../src/shared/model/conditions.ts";

export interface Parts {
  readonly spec?: object;
  readonly metadata?: object;
  readonly ingress?: readonly object[];
  readonly conditions?: readonly object[];
  /** Who wrote status.loadBalancer. */
  readonly writers?: readonly string[];
}

export const programmed: Condition = {
  type: "postern.dev/Programmed",
  status: "True",
  reason: "Programmed",
  message: "Served at web.test on ports 80.",
};
export const condition = (type: string, parts: Partial<Condition> = {}): Condition => ({
  type,
  status: "True",
  reason: type.slice(type.indexOf("/") + 1),
  message: `${type}.`,
  ...parts,
});

export function parsed({ spec, metadata, ingress = [], conditions = [], writers = [] }: Parts): KubeService {
  return serviceSchema.parse({
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: "web",
      uid: "u1",
      creationTimestamp: "2026-01-01T00:00:00Z",
      resourceVersion: "1",
      managedFields: writers.map((manager) => ({ manager, fieldsV1: { "f:status": { "f:loadBalancer": {} } } })),
      ...metadata,
    },
    spec: { type: "LoadBalancer", loadBalancerClass: "postern.dev/edge", ports: [{ port: 80 }], ...spec },
    status: { loadBalancer: { ingress }, conditions },
  });
}

/** As it is once all is written. */
export const ours = ({ metadata, ...parts }: Parts = {}): KubeService =>
  parsed({
    ingress: [{ hostname: "web.test" }],
    conditions: [programmed],
    writers: [MANAGER],
    metadata: { finalizers: [FINALIZER], ...metadata },
    ...parts,
  });
