// Load on a Service through the edge, while something happens to the cluster. The client is a program in the control plane's
// namespace (load-client.ts); what it saw comes back when the change is over.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { z } from "zod";
import { run } from "../harness/command.ts";
import { control, inside } from "../harness/places.ts";

const reportSchema = z.object({
  total: z.int(),
  /** Those that were sent before the change was over; a hundred more follow. */
  during: z.int(),
  failed: z.int(),
  /** The first of them. `at`: epoch ms when it was sent. */
  failures: z.array(z.object({ at: z.number(), ms: z.number(), what: z.string() })),
  latency: z.object({ p50: z.number(), p99: z.number(), max: z.number() }),
  /** By the host name that answered; epoch ms. */
  servers: z.record(z.string(), z.object({ first: z.number(), last: z.number(), count: z.int() })),
});
export type LoadReport = z.infer<typeof reportSchema>;

export interface LoadOptions {
  readonly host: string;
  /** Default: the edge's. */
  readonly address?: string;
  readonly port?: number;
  /** Network namespace of the client; default: the control plane's. */
  readonly netns?: string;
  /** Requests a second. */
  readonly rate?: number;
  readonly method?: "GET" | "POST";
}

/** Until the edge serves it. */
export async function served(host: string): Promise<void> {
  const ask = ["curl", "-sf", "-o", "/dev/null", "-H", `Host: ${host}`, `http://${control.address}/hostname`];
  await run([...inside(control.netns), ...ask, "--retry", "100", "--retry-delay", "1", "--retry-all-errors"]);
}

const program = new URL("load-client.ts", import.meta.url).pathname;

/** Begins once the first request was answered. */
export async function underLoad(options: LoadOptions, change: () => Promise<unknown>): Promise<LoadReport> {
  const { host, address = control.address, port = 80, netns = control.netns, rate = 100, method = "GET" } = options;
  const client = spawn(
    "nsenter",
    [...inside(netns).slice(1), process.execPath, program, address, String(port), host, String(rate), method],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  try {
    const lines = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
    await lines.next();
    await change();
    client.stdin.end();
    const { value } = await lines.next();
    return reportSchema.parse(JSON.parse(String(value)));
  } finally {
    client.stdin.end();
    if (client.exitCode === null) await once(client, "exit");
  }
}
