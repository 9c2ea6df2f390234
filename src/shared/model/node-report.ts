// What a node's agent says of itself and of its node when the edge probes it. The edge passes it on as it came, in the answer of
// POST …/probe. Fields are only ever added, and whoever reads a report of an older agent accepts that a field is absent.
// Every list has a limit, and a list that was cut says by how many items: a report fits the PROBE_MAX bytes of the tunnel.
import { z } from "zod";

/** Most items of each list of a report. */
export const REPORT_MAX = {
  /** Endpoints of one report that are dialled, over all ports of the Service. */
  endpoints: 16,
  /** Dials of NodePorts, over all ports of the Service and addresses of the node. */
  nodePorts: 16,
  /** Services at fault. */
  faults: 20,
  /** Problems of the source. */
  problems: 10,
  /** Ports of the Service that are named at all. */
  ports: 16,
  /** Characters of one text. */
  text: 256,
} as const;

const text = z.string().max(REPORT_MAX.text);
const port = z.int().min(1).max(65_535);
/** Milliseconds since 1970, by the clock of whoever says it. */
const epochMs = z.number();
/** How many items a list would have had beyond its limit. */
const leftOut = z.int().min(0);

/** What came of one TCP connect from the node. No byte is sent. */
export const dialSchema = z
  .object({
    /**
     * connected: somebody accepted. refused: the host answered that nothing listens there. unreachable: the network says that it has no
     * way there, or an ICMP answer refuses it (so does a REJECT rule). timeout: no answer in time. failed: another error, in `why`.
     */
    result: z.enum(["connected", "refused", "unreachable", "timeout", "failed"]),
    /** Milliseconds until that was known. */
    ms: z.number().min(0),
    /** The system's word for it, such as ECONNREFUSED; absent where it connected or nothing answered. */
    why: text.optional(),
  })
  .meta({ id: "Dial" });
export type Dial = Readonly<z.infer<typeof dialSchema>>;

const endpointReportSchema = z.object({
  /** An address of a pod, as the EndpointSlice has it. */
  address: text,
  /** The endpoint's own port: targetPort. */
  port,
  /** True: the EndpointSlice says that it runs on this node. */
  local: z.boolean(),
  /** True: it is on its way out, and listed only because no ready one is left. */
  terminating: z.boolean(),
  dial: dialSchema,
});
export type EndpointReport = Readonly<z.infer<typeof endpointReportSchema>>;

const nodePortReportSchema = z.object({
  /** An address of the node itself: its InternalIP, or 127.0.0.1. kube-proxy need not serve loopback, so only the former means a fault. */
  address: text,
  nodePort: port,
  dial: dialSchema,
});

const portReportSchema = z.object({
  /** Of the Service: spec.ports[].port. */
  port,
  /** Why this node has no endpoint for the port, in words; absent where it has one. */
  refusal: text.optional(),
  /** Those that this node would choose from for a request of the tunnel: traffic policy, hints and readiness are applied. */
  endpoints: z.array(endpointReportSchema).max(REPORT_MAX.endpoints),
  endpointsLeftOut: leftOut,
  /** Empty where the Service has no NodePort. */
  nodePorts: z.array(nodePortReportSchema).max(REPORT_MAX.nodePorts),
});

/** The Service that was asked for, as this node sees it. */
export const serviceReportSchema = z
  .object({
    /** "namespace/name" */
    service: text,
    /**
     * planned: this node serves streams for it. unknown: the API server has told this node of no such Service. not-exposed: it exists,
     * and is none of Postern's. Only for the first there are ports.
     */
    state: z.enum(["planned", "unknown", "not-exposed"]),
    ports: z.array(portReportSchema).max(REPORT_MAX.ports),
    portsLeftOut: leftOut,
  })
  .meta({ id: "ServiceReport" });
export type ServiceReport = Readonly<z.infer<typeof serviceReportSchema>>;

/** Where the agent reads the cluster from. */
export const sourceReportSchema = z
  .object({
    kind: z.enum(["kube", "files"]),
    /**
     * reading: nothing complete has been read yet. in-step: it is read and followed. troubled: what is known is the last good state, and
     * `problems` say why no newer one comes, or which objects cannot be used.
     */
    state: z.enum(["reading", "in-step", "troubled"]),
    /** When it came into that state; null: in this process's first moment. */
    since: epochMs.nullable(),
    /** When the cluster's state last changed as this agent sees it (a list or a watch event came); null: never yet. */
    lastEvent: epochMs.nullable(),
    /** `where`: file and line, or API object. */
    problems: z.array(z.object({ where: text, message: text })).max(REPORT_MAX.problems),
    problemsLeftOut: leftOut,
  })
  .meta({ id: "SourceReport" });
export type SourceReport = Readonly<z.infer<typeof sourceReportSchema>>;

/** Rules of this node's kernel against the plan: an agent in kube-proxy's place (--proxy all) alone has any. */
export const kernelReportSchema = z
  .object({
    /**
     * off: this agent programs no kernel (kube-proxy or another does). in-step: the latest plan is applied, and the kernel has it as it
     * was left. differs: a sync failed, some of it was refused, or somebody changed the rules. unknown: no sync has ended yet, one is
     * under way, or the kernel could not be asked in time.
     */
    state: z.enum(["off", "in-step", "differs", "unknown"]),
    /** Why it differs or is unknown, in words; absent otherwise. */
    why: text.optional(),
    /** When the last sync that succeeded ended; null: none has. */
    lastSync: epochMs.nullable(),
    /** When the kernel was last asked whether it has the rules as they were left; null: it was not asked for this report, or lately. */
    checkedAt: epochMs.nullable(),
    /** Services of which the kernel does not do all, on this node. Also for userspace NodePorts that could not be opened. */
    faults: z.array(z.object({ service: text, reason: text, message: text })).max(REPORT_MAX.faults),
    faultsLeftOut: leftOut,
  })
  .meta({ id: "KernelReport" });
export type KernelReport = Readonly<z.infer<typeof kernelReportSchema>>;

export const nodeReportSchema = z
  .object({
    /** The agent: "postern-agent 0.1.0". */
    software: text,
    /** Of the Node. */
    node: text,
    /** The agent's clock when the question came. */
    receivedAt: epochMs,
    /** Milliseconds that the agent took to answer: dials and look-ups. */
    tookMs: z.number().min(0),
    /** Milliseconds since the agent's process began. */
    uptimeMs: z.number().min(0),
    /** What the agent does with NodePorts: none (kube-proxy does), userspace (the demo), or the mode in which it stands in kube-proxy's place. */
    proxy: z.enum(["none", "userspace", "nftables", "iptables", "ipvs"]),
    source: sourceReportSchema,
    /** True: the node does what the latest plan asks for, but for the faults that `kernel` lists. */
    planApplied: z.boolean(),
    kernel: kernelReportSchema,
    /** Entries of the kernel's connection tracking, and how many fit; null: /proc does not say (no conntrack, or not the node's own network). */
    conntrack: z.object({ count: z.int().min(0), max: z.int().min(0) }).nullable(),
    /**
     * Packet filters of the host, as far as a process without rights sees them: modules of the kernel that filter, such as nf_tables or
     * iptable_filter. They are a hint, not a finding: kube-proxy and network plugins load them as well. null: /proc does not say.
     */
    packetFilters: z.array(text).max(8).nullable(),
    /** Endpoints that this agent finds broken while it serves: "namespace/name address:port" and why. */
    brokenEndpoints: z.array(z.object({ endpoint: text, reason: text })).max(REPORT_MAX.faults),
    brokenEndpointsLeftOut: leftOut,
    /** Only where a Service was asked for. */
    service: serviceReportSchema.optional(),
  })
  .meta({ id: "NodeReport" });
export type NodeReport = Readonly<z.infer<typeof nodeReportSchema>>;
