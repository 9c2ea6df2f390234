// Conditions of a Service: their shape, and every type that agent or edge may set, with the reasons that it may have.
// docs/conditions.md says what each means. What is read is any condition: an older edge gets those of a newer agent.
import { z } from "zod";
import { DOMAIN } from "./annotations.ts";

export const CONDITION_MESSAGE_MAX = 4096;

/** A Kubernetes-style condition. `type` is CamelCase or domain/CamelCase; no counts or times that move with endpoints. */
export const conditionSchema = z.object({
  type: z.string().min(1).max(316),
  status: z.enum(["True", "False"]),
  reason: z.string().min(1).max(1024),
  message: z.string().max(CONDITION_MESSAGE_MAX),
  /** Service ports that it is about, where it is not about all: they get an error of their own in Service.status. */
  ports: z.array(z.int().min(1).max(65535)).max(128).optional(),
});
export type Condition = z.infer<typeof conditionSchema>;

/** Type without its domain → its reasons. Written by the agent, the edge's compile step, or the leading agent alone. */
export const conditionReasons = {
  // The leader's word before the edge has answered is Pending; all others are the edge's.
  Programmed: ["Programmed", "Pending", "NoHostname", "PortNotOffered", "NoTCPPort", "NoPort"],

  // By the agent, which sees annotations, slices and pods.
  AnnotationIgnored: ["BadValue"],
  EndpointAlgorithmNotSupported: ["ExecutorCannot"],
  NoMatchingPods: ["NoSelector", "SelectorMatchesNothing", "OnlyNames"],
  NoReadyPods: ["NoneReady"],
  TargetPortNotFound: ["NoEndpointHasPort", "ConnectionRefused"],
  ProtocolNotSupported: ["AppProtocol"],
  ExternalNameNotAllowed: ["NoName", "NoService", "NotListed", "AddressNotListed"],
  EndpointsCut: ["TooMany"],
  PortsCut: ["TooMany"],

  // By the leading agent in kube-proxy's place, of its own node.
  ForwardingIncomplete: ["RulesRefused", "FrontendConflict", "AffinityNotSupported"],

  // By the edge, which knows of names, ports and ways. There is one reason for each: its own name.
  HostnameConflict: ["HostnameConflict"],
  HostnameNotAllowed: ["HostnameNotAllowed"],
  PortNotOffered: ["PortNotOffered"],
  UDPNotSupported: ["UDPNotSupported"],
  SCTPNotSupported: ["SCTPNotSupported"],
  NoEligibleNodes: ["NoEligibleNodes"],
  DirectNotPossible: ["DirectNotPossible"],
  DirectAddressRefused: ["DirectAddressRefused"],
  HostNotKept: ["HostNotKept"],

  // By the leader, which sees who else writes a Service's status.
  AnotherStatusWriter: ["StatusOverwritten"],
} as const satisfies Record<string, readonly string[]>;

type Reasons = typeof conditionReasons;
export type ConditionName = keyof Reasons;
export type ReasonOf<N extends ConditionName> = Reasons[N][number];
/** Those whose reason is their own name. */
export type PlainConditionName = { [N in ConditionName]: N extends ReasonOf<N> ? N : never }[ConditionName];

/** "Programmed" → "postern.dev/Programmed" */
export const conditionType = <N extends ConditionName>(name: N) => `${DOMAIN}${name}` as const;

/** Goes by itself with a Service that is ours: what carries it is ours. */
export const PROGRAMMED = conditionType("Programmed");

interface More {
  /** "True" where it is left out. */
  readonly status?: "True" | "False";
  /** Those that it is about, where it is not about all. */
  readonly ports?: readonly number[];
}

export function condition<N extends ConditionName>(
  name: N,
  reason: ReasonOf<N>,
  message: string,
  { status = "True", ports }: More = {},
): Condition {
  const about = ports === undefined ? {} : { ports: [...ports] };
  return { type: conditionType(name), status, reason, message: message.slice(0, CONDITION_MESSAGE_MAX), ...about };
}

/** Kubernetes' own type for Services of which some ports cannot be served (KEP-1435); it has no domain. */
export const PORTS_ERROR = "LoadBalancerPortsError";

/** For a Service that mixes TCP with protocols that the edge does not carry. */
export const mixedProtocols = (message: string): Condition => ({
  type: PORTS_ERROR,
  status: "True",
  reason: "LoadBalancerMixedProtocolNotSupported",
  message,
});

/** What transport direct means, not a fault. */
const QUIET: string = conditionType("HostNotKept");

/** Whether its owner has something to do about it. Programmed is good news when it is True, all others when they are False. */
export const isTrouble = ({ type, status }: { readonly type: string; readonly status: string }): boolean =>
  type !== QUIET && (status === "True") !== (type === PROGRAMMED);
