// POST …/probe: what the edge knows of a cluster, and what each of its nodes answers on a stream of its own, in one answer. It puts
// facts together and judges none. What nodes say is a stranger's word until it is parsed here.
import { createRoute } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { z } from "zod";
import manifest from "../../../package.json" with { type: "json" };
import type { DirectoryEntry } from "../../shared/control/answers.ts";
import {
  PROBE_MS,
  PROBED_MAX,
  PROBED_NODES_MAX,
  PROBED_SERVICES_MAX,
  probeAnswerSchema,
  probeInputSchema,
  type ProbedService,
  type ProbeOutcome,
} from "../../shared/control/probe.ts";
import { nodeReportSchema } from "../../shared/model/node-report.ts";
import { parseJson } from "../../shared/net/reply.ts";
import { compareText } from "../../shared/sorted.ts";
import type { Env } from "../env.ts";
import { tables } from "../request/isolate.ts";
import type { Known } from "../request/tables.ts";
import type { ClusterFacts, ClusterProbe, Published, ProbeResult, Refusal } from "../rpc/contract.ts";
import { within } from "../rpc/within.ts";
import type { Api, ControlEnv, Principal } from "./context.ts";
import { requires } from "./auth.ts";
import { fewProbes } from "./few-at-once.ts";
import { jsonBody, jsonContent, responses } from "./openapi.ts";
import { refused } from "./problem.ts";
import { clusterParams } from "./schemas.ts";
import { maySee } from "./hostnames.ts";
import { clusterOf, gatewayOf } from "./stubs.ts";

type Answer = z.infer<typeof probeAnswerSchema>;

/** The directory answers so soon, or is said to be silent. */
const DIRECTORY_MS = 2_000;

export function probeRoutes(app: Api): void {
  app.openapi(
    createRoute({
      method: "post",
      path: "/api/v1/clusters/{cluster}/probe",
      summary: "What the edge and, through every tunnel connection, each node say of a cluster",
      description:
        `Opens a stream of its own on each connection, and waits ${PROBE_MS} ms at most. With a Service, each node dials the Service's ` +
        "endpoints and NodePorts as well. By the admin, or the owner's token of the cluster.",
      middleware: [requires("owner"), fewProbes, ...jsonBody.middleware] as const,
      request: { params: clusterParams, body: { ...jsonBody.of(probeInputSchema), required: false } },
      responses: responses({ 200: jsonContent(probeAnswerSchema) }, 404, 413, 415),
    }),
    async (c) => {
      const { service } = c.req.valid("json");
      const { name } = c.get("cluster");
      const { client } = c.get("from");
      const about = service === undefined ? {} : { service };
      const now = Date.now();
      const here = tables.known(name);
      const object = clusterOf(c.env, name);
      const [facts, probed] = await Promise.all([
        object.facts({ ...about, client, most: PROBED_SERVICES_MAX, nodesMost: PROBED_NODES_MAX }),
        object.probe({ ...about, limitMs: PROBE_MS, most: PROBED_MAX }),
      ]).catch((error: unknown) => [undefined, olderObject(error)] as const);
      if (facts === undefined) return refused(c, probed);
      if (!probed.ok) return refused(c, probed);
      const hostnames = facts.services.flatMap((each) => each.hostnames.map(({ hostname }) => hostname));
      const directory = await within(DIRECTORY_MS, gatewayOf(c.env).lookUp(hostnames)).catch(() => undefined);
      const answer: Answer = {
        edge: {
          ...edgeFacts(c.env),
          now,
          directory: copy(directory?.version, here.directory, now),
          table: copy(facts.generation, here.table, now),
          yourAddress: client === "" ? null : client,
        },
        cluster: clusterFacts(c, facts, now),
        services: facts.services.map((each) => withOwners(each, directory?.entries ?? [], c.get("principal"))),
        servicesLeftOut: facts.servicesLeftOut,
        ...nodeFacts(facts, probed),
        connections: connectionsOf(probed),
        connectionsLeftOut: probed.leftOut,
        silentShards: [...probed.silentShards],
      };
      return c.json(answer, 200);
    },
  );
}

/** Throws what is anything else than that the object has no such method: it may run the version before for 300 s after a deploy. */
function olderObject(error: unknown): Refusal {
  if (!(error instanceof TypeError) || !error.message.includes("does not implement")) throw error;
  const message = "the cluster's object still runs the version before: try again in five minutes";
  return { ok: false, status: 503, reason: "object-unavailable", message };
}

function edgeFacts({ ADMIN_HOST, EDGE_DOMAIN, LISTENER_PORTS, LISTENER_TLS }: Env) {
  return {
    software: `postern-edge ${manifest.version}`,
    adminHost: ADMIN_HOST,
    domain: EDGE_DOMAIN,
    listenerPorts: LISTENER_PORTS,
    tls: LISTENER_TLS !== "none",
  };
}

const copy = (current: number | undefined, here: Known | undefined, now: number): Answer["edge"]["table"] => ({
  current: current ?? null,
  here: here?.number ?? null,
  checkedAgoMs: here === undefined ? null : Math.max(0, now - here.checkedAt),
});

function clusterFacts(c: Context<ControlEnv>, facts: ClusterFacts, now: number): Answer["cluster"] {
  const { name, createdAt, shards } = c.get("cluster");
  const { snapshot, lastAccepted, lastRefused } = facts;
  return {
    ...{ name, createdAt, shards },
    snapshot:
      snapshot === undefined
        ? null
        : {
            epoch: snapshot.generation?.epoch ?? null,
            sequence: snapshot.generation?.sequence ?? null,
            services: snapshot.services,
            nodes: snapshot.nodes.length,
            acceptedAgoMs: lastAccepted === undefined ? null : Math.max(0, now - lastAccepted.at),
          },
    lastAccepted: lastAccepted === undefined ? null : published(lastAccepted),
    lastRefused:
      lastRefused === undefined
        ? null
        : { ...published(lastRefused), reason: lastRefused.reason, message: lastRefused.message },
  };
}

const published = ({ at, epoch, sequence, token, node }: Published) => ({
  ...{ at, epoch, sequence, token: token ?? null, node: node ?? null },
});

/** A cluster learns of another that has a hostname only where it serves that name as well. */
function withOwners(
  service: ProbedService,
  entries: readonly DirectoryEntry[],
  principal: Principal,
): Answer["services"][number] {
  const hostnames = service.hostnames.map((each) => {
    const entry = entries.find(({ hostname }) => hostname === each.hostname);
    return entry === undefined || !maySee(entry, principal)
      ? each
      : { ...each, owner: entry.owner, members: [...entry.members] };
  });
  return { ...service, hostnames };
}

function nodeFacts({ snapshot }: ClusterFacts, { connections, leftOut }: ClusterProbe) {
  const nodes = snapshot?.nodes ?? [];
  const excluded = nodes.filter((node) => node.excluded !== undefined);
  const connected = new Set(connections.map(({ node }) => node));
  // Where not all connections were asked, nobody can say which nodes have none.
  const unconnected = leftOut > 0 ? [] : nodes.filter(({ name }) => !connected.has(name));
  return {
    excludedNodes: excluded.slice(0, PROBED_NODES_MAX).map(({ name, excluded: why = "" }) => ({ node: name, why })),
    excludedNodesLeftOut: Math.max(0, excluded.length - PROBED_NODES_MAX),
    unconnectedNodes: unconnected.slice(0, PROBED_NODES_MAX).map(({ name }) => name),
    unconnectedNodesLeftOut: Math.max(0, unconnected.length - PROBED_NODES_MAX),
  };
}

const connectionsOf = ({ connections }: ClusterProbe): Answer["connections"] =>
  connections
    .map(({ probe, ...connection }) => ({ ...connection, probe: outcomeOf(probe) }))
    .sort((a, b) => compareText(a.node, b.node) || a.shard - b.shard || b.since - a.since);

function outcomeOf(result: ProbeResult): ProbeOutcome {
  if (!result.ok) return result;
  const { sentAt, answeredAt, answer } = result;
  const tookInAll = Math.max(0, answeredAt - sentAt);
  const report = nodeReportSchema.safeParse(parseJson(answer));
  if (!report.success) {
    const why = "the answer is no report that this edge can read: agent and edge are of different versions";
    return { ok: false, stage: "bad-answer", afterMs: tookInAll, heard: true, why };
  }
  const roundTripMs = Math.max(0, tookInAll - report.data.tookMs);
  // The question was half a round trip on its way.
  const clockSkewMs = report.data.receivedAt - (sentAt + roundTripMs / 2);
  return { ok: true, roundTripMs, clockSkewMs, report: report.data };
}
