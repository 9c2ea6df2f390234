// What the doctor knows when it begins to judge: Kubernetes' objects, reduced to what is needed; the edge's answers; and what asking
// from this machine brought. Plain data. Nothing secret can be in it: kube-objects.ts takes over listed fields alone.
import type { z } from "zod";
import type { KubeEndpointSlice, KubeNode, KubeService } from "../../agent/source/resources.ts";
import type { ClusterNode, conditionsSchema, DirectoryEntry, tableSchema } from "../../src/shared/control/answers.ts";
import type { LogRecord } from "../../src/shared/control/access-log.ts";
import type { ProbeAnswer } from "../../src/shared/control/probe.ts";
import type { Used } from "./free-plan.ts";

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly ports: readonly { readonly name: string; readonly containerPort: number; readonly protocol: string }[];
  /** What its readiness probe asks, in words; absent: it has none. */
  readonly readiness?: string;
  readonly ready: boolean;
  readonly restarts: number;
  /** Why it does not run yet. */
  readonly waiting?: { readonly reason: string; readonly message: string };
  /** How it ended the last time. */
  readonly ended?: { readonly reason: string; readonly exitCode: number };
}

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: number;
  readonly deleting: boolean;
  /** "" where it has none yet. */
  readonly node: string;
  readonly phase: string;
  readonly addresses: readonly string[];
  readonly hostNetwork: boolean;
  readonly ready: boolean;
  /** Why the scheduler finds no node. */
  readonly unschedulable?: string;
  /** Init containers first. */
  readonly containers: readonly Container[];
}

export interface Workload {
  /** "Deployment", "StatefulSet", "DaemonSet" */
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly createdAt: number;
  /** What spec asks for; a DaemonSet's is what the scheduler counts. */
  readonly wanted: number;
  /** Pods that there are. */
  readonly made: number;
  /** Labels of its pods, and their containers, by its template. */
  readonly labels: Readonly<Record<string, string>>;
  readonly containers: readonly Pick<Container, "name" | "ports">[];
}

export interface Peer {
  /** Absent: the peer is pods, and so never a node. */
  readonly cidr?: string;
  readonly except: readonly string[];
}

/** A NetworkPolicy that has a say in what comes in. */
export interface Policy {
  readonly namespace: string;
  readonly name: string;
  readonly podSelector: Selector;
  /** No `from`: everybody; no `ports`: every port. */
  readonly ingress: readonly {
    readonly from?: readonly Peer[];
    readonly ports?: readonly {
      readonly protocol: string;
      readonly port?: number | string;
      readonly endPort?: number;
    }[];
  }[];
}

export interface Selector {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly matchExpressions: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values: readonly string[];
  }[];
}

export interface KubeEvent {
  readonly namespace: string;
  /** "Pod", "ReplicaSet" … and the name of that object. */
  readonly kind: string;
  readonly name: string;
  readonly reason: string;
  readonly message: string;
  /** When it was seen last. */
  readonly at: number;
}

export interface NodeState {
  readonly name: string;
  /** Undefined where the kubelet never said. */
  readonly ready: boolean | undefined;
  /** Why not. */
  readonly message: string;
  readonly cordoned: boolean;
  /** The kubelet's version, such as "v1.34.2+k3s1"; "" where it never said. */
  readonly kubelet: string;
}

/** What kubectl showed. Lists are empty where nothing could be read: then `unread` says so. */
export interface KubeFacts {
  readonly services: readonly KubeService[];
  readonly slices: readonly KubeEndpointSlice[];
  readonly nodes: readonly KubeNode[];
  readonly nodeStates: readonly NodeState[];
  readonly pods: readonly Pod[];
  readonly workloads: readonly Workload[];
  readonly policies: readonly Policy[];
  readonly events: readonly KubeEvent[];
  /** Those that are being deleted. */
  readonly terminatingNamespaces: readonly string[];
  /** "namespace/name" of Services → namespaces in which pods with its selector's labels are. Asked only where its own has none. */
  readonly elsewhere: Readonly<Record<string, readonly string[]>>;
  /** The agents': pods of every node, and whether there is a DaemonSet. */
  readonly agent: {
    readonly pods: readonly Pod[];
    readonly installed: boolean;
    /** Undefined: unknown. */
    readonly defaultClass?: boolean;
  };
  /** The API server's version, such as "v1.34.2"; absent: unknown. */
  readonly serverVersion?: string;
  /** Where it runs as pods, as kubeadm has it; elsewhere empty. */
  readonly kubeProxyPods: readonly Pod[];
  /** True: these are a file's objects alone, so what is not here may be elsewhere. */
  readonly isPartial?: boolean;
  /** Kinds that could not be read, in plural and small letters, and why. */
  readonly unread: readonly { readonly what: string; readonly why: string }[];
}

export const nothingRead: KubeFacts = {
  services: [],
  slices: [],
  nodes: [],
  nodeStates: [],
  pods: [],
  workloads: [],
  policies: [],
  events: [],
  terminatingNamespaces: [],
  elsewhere: {},
  agent: { pods: [], installed: true },
  kubeProxyPods: [],
  unread: [],
};

export interface Refusal {
  /** What was asked. */
  readonly asked: string;
  readonly why: string;
  /** HTTP status; absent where nothing answered. */
  readonly status?: number;
}

/** What Cloudflare says of the edge's account and this day. Either `used` or `refused` is there. */
export interface QuotaFacts {
  readonly account: string;
  /** Epoch ms. */
  readonly resetsAt: number;
  readonly used?: Used;
  /** Why it says nothing. */
  readonly refused?: { readonly why: string; readonly lacksRight: boolean };
}

export interface EdgeFacts {
  readonly url: string;
  readonly cluster: string;
  /** This command's own. */
  readonly command: string;
  /** "postern-edge 0.1.0"; absent where it did not answer. */
  readonly software?: string;
  readonly table?: z.infer<typeof tableSchema>;
  readonly conditions?: z.infer<typeof conditionsSchema>["services"];
  readonly nodes?: readonly ClusterNode[];
  /** What the edge found by asking every node through its tunnel; where a Service was named, of that one also. */
  readonly probe?: ProbeAnswer;
  /** Absent: the edge is not Cloudflare's, was not deployed from this machine, or there is no token to ask with. */
  readonly quota?: QuotaFacts;
  /** Of the host names that were asked about. */
  readonly directory: readonly DirectoryEntry[];
  readonly refusals: readonly Refusal[];
}

/** A host name and port that the edge's table has for a Service, asked from this machine. */
export interface Ask {
  /** "namespace/name" */
  readonly service: string;
  readonly hostname: string;
  readonly port: number;
  readonly tls: boolean;
  /** Empty where the name does not resolve: then `failed` says why. */
  readonly addresses: readonly string[];
  readonly certificate?: {
    /** Why it is not valid; "" where it is. */
    readonly wrong: string;
    /** Epoch ms. */
    readonly until: number;
  };
  /** Why there is no answer: "ECONNREFUSED …". */
  readonly failed?: string;
  readonly answer?: {
    readonly status: number;
    /** x-postern-reason: the edge answers in the server's place. */
    readonly reason?: string;
    /** The beginning of the body. */
    readonly text: string;
    readonly ms: number;
  };
  /** Whether a Postern edge answers there. Absent: unknown. */
  readonly isPostern?: boolean;
}

export type ListenerAsk = Pick<Ask, "service" | "hostname" | "port" | "tls">;

/** A request of this machine's as its own side saw it. Times are of the step alone, ms; absent: it came to none. */
export interface ClientSide {
  readonly lookupMs?: number;
  readonly connectMs?: number;
  readonly handshakeMs?: number;
  /** From the request's last byte until the answer's head. */
  readonly answerMs?: number;
  readonly address?: string;
  readonly status?: number;
  /** x-postern-reason. */
  readonly reason?: string;
  /** Why there is no answer. */
  readonly failed?: string;
}

/** The same request, and what the edge's access log says of it. */
export interface Traced {
  readonly where: ListenerAsk;
  /** Its trace id. */
  readonly id: string;
  readonly client: ClientSide;
  /** Absent: the edge's log has no such request. */
  readonly record?: LogRecord;
  /** Why the log could not be read. */
  readonly unread?: string;
}

export interface Facts {
  /** Epoch ms, of this machine. */
  readonly now: number;
  /** "namespace/name"; absent: all. */
  readonly only?: string;
  readonly kube: KubeFacts;
  /** Absent: no edge was asked. */
  readonly edge?: EdgeFacts;
  readonly asks: readonly Ask[];
  /** Kubernetes was not asked, on purpose: only what a client and the edge see. */
  readonly isOutside?: boolean;
  /** One request through the edge, hop by hop. */
  readonly trace?: Traced;
}
