// What this node sees of one Service: its own plan's endpoints and the node's own NodePorts, each dialled. Nothing else is dialled,
// whatever the edge asks for, so that a probe lets nobody into the LAN. What is dialled is decided before anything is.
import { REPORT_MAX, type ServiceReport } from "../../src/shared/model/node-report.ts";
import type { LookedUpPort } from "../endpoints/endpoints.ts";
import { keyOf, ownerOf } from "../plan/keys.ts";
import type { KubeService } from "../source/resources.ts";
import type { Observed } from "../source/source.ts";
import type { DialTcp } from "./dial-tcp.ts";

export interface ServiceFacts {
  /** "namespace/name" */
  readonly service: string;
  /** The name of this agent's Node. */
  readonly node: string;
  readonly observed: Pick<Observed, "services" | "endpointSlices" | "nodes"> | undefined;
  /** Whether the edge may open streams to it. */
  readonly isExposed: (service: KubeService) => boolean;
  /** What a stream would find; empty where this node serves none. */
  readonly ports: readonly LookedUpPort[];
}

/** Addresses of the node at which NodePorts are tried, beside loopback. */
const ADDRESSES_MAX = 1;
const LOOPBACK = "127.0.0.1";

export async function serviceReport(facts: ServiceFacts, dial: DialTcp): Promise<ServiceReport> {
  const { service, observed, isExposed, ports } = facts;
  const found = observed?.services.find((each) => keyOf(each) === service);
  const exposed = found !== undefined && isExposed(found);
  const state = exposed ? "planned" : found === undefined ? "unknown" : "not-exposed";
  if (!exposed) return { service: cut(service), state, ports: [], portsLeftOut: 0 };
  const told = ports.slice(0, REPORT_MAX.ports);
  const each = Math.max(1, Math.floor(REPORT_MAX.endpoints / Math.max(1, told.length)));
  const local = localAddresses(facts);
  const at = [...nodeAddresses(facts), LOOPBACK];
  const withNodePort = told.filter(({ port }) => nodePortOf(found, port) !== undefined);
  const tried = new Set(withNodePort.slice(0, Math.floor(REPORT_MAX.nodePorts / at.length)));
  return {
    ...{ service: cut(service), state },
    ports: await Promise.all(
      told.map(async (looked) => {
        const { port, refusal, endpoints } = looked;
        // Those that fail come first, for it is them that somebody looks for.
        const chosen = endpoints.toSorted((a, b) => Number(b.broken) - Number(a.broken)).slice(0, each);
        const nodePort = tried.has(looked) ? nodePortOf(found, port) : undefined;
        const [dialled, nodePorts] = await Promise.all([
          Promise.all(chosen.map(async (to) => ({ to, dial: await dial(to.address, to.port) }))),
          nodePort === undefined
            ? []
            : Promise.all(at.map(async (address) => ({ address, nodePort, dial: await dial(address, nodePort) }))),
        ]);
        return {
          port,
          ...(refusal === undefined ? {} : { refusal: cut(refusal) }),
          endpoints: dialled.map(({ to, dial: came }) => ({
            ...{ address: to.address, port: to.port, terminating: to.terminating },
            local: local.has(to.address),
            dial: came,
          })),
          endpointsLeftOut: endpoints.length - chosen.length,
          nodePorts,
        };
      }),
    ),
    portsLeftOut: ports.length - told.length,
  };
}

const nodePortOf = ({ spec }: KubeService, port: number): number | undefined =>
  spec.ports.find((each) => each.protocol === "TCP" && each.port === port)?.nodePort;

/** Of the Service's endpoints that run on this node. */
function localAddresses({ service, node, observed }: ServiceFacts): ReadonlySet<string> {
  const slices = (observed?.endpointSlices ?? []).filter((slice) => ownerOf(slice) === service);
  const here = slices.flatMap(({ endpoints }) => endpoints.filter(({ nodeName }) => nodeName === node));
  return new Set(here.flatMap(({ addresses }) => addresses));
}

function nodeAddresses({ node, observed }: ServiceFacts): readonly string[] {
  const own = observed?.nodes.find(({ metadata }) => metadata.name === node);
  const internal = (own?.status.addresses ?? []).filter(({ type }) => type === "InternalIP");
  return internal.map(({ address }) => address).slice(0, ADDRESSES_MAX);
}

export const cut = (text: string): string => text.slice(0, REPORT_MAX.text);
