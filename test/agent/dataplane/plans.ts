// ForwardingPlans for tests: short, valid, changed by overriding parts.
import type { ForwardingPlan, PlanEndpoint, PlanPort, PlanService } from "../../../agent/plan/plan.ts";

export const planEndpoint = (address: string, port: number, parts: Partial<PlanEndpoint> = {}): PlanEndpoint => ({
  key: `${address}:${port}`,
  address,
  port,
  weight: 1,
  terminating: false,
  ...parts,
});

export const planPort = (external: readonly PlanEndpoint[], parts: Partial<PlanPort> = {}): PlanPort => ({
  protocol: "TCP",
  port: 80,
  external,
  ...(external.length > 0 ? {} : { refusal: "no pod of the service is ready" }),
  ...parts,
});

export const planService = (
  key: string,
  ports: readonly PlanPort[],
  parts: Partial<PlanService> = {},
): PlanService => ({
  key,
  exposed: true,
  algorithm: "rr",
  sourceRanges: [],
  ports,
  ...parts,
});

export const plan = (...services: readonly PlanService[]): ForwardingPlan => ({ node: "n1", services });
