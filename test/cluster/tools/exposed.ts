// What users see of an exposed Service: its answers at the edge, asked from outside of the cluster, its address, conditions
// and Events. Reads only.
import { z } from "zod";
import { run } from "../harness/command.ts";
import { control, edge, inside } from "../harness/places.ts";
import type { TestNamespace } from "./web.ts";

export interface Answer {
  /** 0: no answer at all. */
  readonly status: number;
  /** The edge's own, where it refuses. */
  readonly reason: string;
  readonly body: string;
}

export interface AskOptions {
  readonly count?: number;
  readonly port?: number;
  readonly path?: string;
  /** An address of the control plane's namespace: who is asking. */
  readonly client?: string;
  /** All at once, instead of one after the other. */
  readonly parallel?: boolean;
}

export const hostOf = (namespace: TestNamespace, service: string): string =>
  `${service}-${namespace.name}-${edge.cluster}.${edge.domain}`;

/** One after the other on one connection, unless in parallel. */
const oneAfterTheOther = 'count=$1; shift; set -- "$@" $(yes "$URL" | head -n "$count"); "$@" || true';
const allAtOnce = 'count=$1; shift; for i in $(seq "$count"); do { line=$("$@" "$URL"); echo "$line"; } & done; wait';

/** Requests to the edge. */
export async function ask(host: string, options: AskOptions = {}): Promise<Answer[]> {
  const { count = 1, port = 80, path = "/hostname", client, parallel = false } = options;
  const curl = [
    ...["curl", "-s", "--globoff", "--max-time", "20", "--connect-to", `::${control.address}:`],
    ...["-w", "\\t%{http_code}\\t%header{x-postern-reason}\\n"],
    ...(client === undefined ? [] : ["--interface", client]),
  ];
  // Refused or reset: the line says 000, and that is an answer here.
  const script = ["sh", "-c", parallel ? allAtOnce : oneAfterTheOther, "sh", String(count)];
  const env = { URL: `http://${host}:${port}${path}` };
  const printed = await run([...inside(control.netns), ...script, ...curl], { env });
  return [...printed.matchAll(/([^]*?)\t(\d{3})\t(.*)\n/g)].map(([, body = "", status, reason = ""]) => ({
    body: body.trim(),
    status: Number(status),
    reason,
  }));
}

/** "200", "503 no-endpoints", "0": the first answer in a word. */
export async function outcome(host: string, options: AskOptions = {}): Promise<string> {
  const [answer] = await ask(host, options);
  return answer === undefined ? "" : `${answer.status} ${answer.reason}`.trim();
}

/** Who answered, each once and sorted; a request that is not answered with 200 is among them as "503 no-endpoints". */
export async function servers(host: string, options: AskOptions = {}): Promise<string[]> {
  const answers = await ask(host, { count: 30, ...options });
  const named = answers.map(({ status, reason, body }) => (status === 200 ? body : `${status} ${reason}`.trim()));
  return [...new Set(named)].sort();
}

/**
 * Numbers of the nodes through which requests came in, by the address that the pods saw: 10.244.2.1 or 10.90.0.12 => 2.
 * The edge's own address names no node: a connection that it keeps from the time of externalTrafficPolicy Local.
 * NaN: anything else, so a request that was not answered.
 */
export async function entries(host: string, options: AskOptions = {}): Promise<number[]> {
  const answers = await ask(host, { count: 40, path: "/clientip", ...options });
  const numbers = answers
    .filter(({ body }) => !body.startsWith(`${control.address}:`))
    .map(({ body }) => Number(/^10\.(?:244\.(\d)\.1|90\.0\.1(\d)):/.exec(body)?.slice(1).join("")));
  return [...new Set(numbers)].sort((a, b) => a - b);
}

const serviceSchema = z.object({
  metadata: z.object({ finalizers: z.array(z.string()).default([]) }),
  spec: z.object({ healthCheckNodePort: z.int().optional() }),
  status: z.object({
    loadBalancer: z.object({
      ingress: z
        .array(
          z.object({
            hostname: z.string().default(""),
            ports: z.array(z.object({ port: z.int(), protocol: z.string(), error: z.string().optional() })).default([]),
          }),
        )
        .default([]),
    }),
    conditions: z
      .array(z.object({ type: z.string(), status: z.string(), reason: z.string(), message: z.string() }))
      .default([]),
  }),
});

export async function statusOf(namespace: TestNamespace, service: string) {
  const found = serviceSchema.parse(JSON.parse(await namespace.kubectl("get", `service/${service}`, "-o", "json")));
  return {
    finalizers: found.metadata.finalizers,
    ingress: found.status.loadBalancer.ingress,
    hostnames: found.status.loadBalancer.ingress.map(({ hostname }) => hostname),
    healthCheckNodePort: found.spec.healthCheckNodePort,
    /** "NoReadyPods" → what it says; those of Postern without their prefix. */
    conditions: new Map(
      found.status.conditions.map((condition) => [condition.type.replace("postern.dev/", ""), condition]),
    ),
  };
}

/** Types of what is True, but for Programmed; sorted. */
export async function troubles(namespace: TestNamespace, service: string): Promise<string[]> {
  const { conditions } = await statusOf(namespace, service);
  return [...conditions]
    .filter(([type, { status }]) => status === "True" && type !== "Programmed")
    .map(([type]) => type)
    .sort();
}

const eventsSchema = z.object({
  items: z.array(z.object({ type: z.string(), reason: z.string(), message: z.string() })),
});

/** "Warning NoReadyPods: the Service has …" */
export async function eventsOf(namespace: TestNamespace, service: string): Promise<string[]> {
  const of = ["--field-selector", `involvedObject.kind=Service,involvedObject.name=${service}`];
  const { items } = eventsSchema.parse(JSON.parse(await namespace.kubectl("get", "events", ...of, "-o", "json")));
  return items.map(({ type, reason, message }) => `${type} ${reason}: ${message}`);
}
