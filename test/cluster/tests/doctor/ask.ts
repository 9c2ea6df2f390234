// Runs `postern doctor` as its user does, where the edge's clients are: in the control plane's namespace, with the cluster's resolver.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { edgePlace } from "../../harness/edge.ts";
import { control, edge, inside, kubeconfig, work } from "../../harness/places.ts";

const root = new URL("../../../..", import.meta.url).pathname;

const reportSchema = z.object({
  services: z.array(z.string()),
  hops: z.array(z.object({ hop: z.string(), state: z.string(), said: z.string() })),
  findings: z.array(
    z.object({ id: z.string(), severity: z.string(), object: z.string(), seen: z.string(), mend: z.string() }),
  ),
});

export interface Asked {
  readonly report: z.infer<typeof reportSchema>;
  readonly code: number;
  readonly seconds: number;
  readonly stderr: string;
}

export interface AskOptions {
  /** Of /etc/resolv.conf; absent: the cluster's. */
  readonly resolver?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Whose kubeconfig. */
  readonly user?: string;
  readonly more?: readonly string[];
}

/** One for all: kubectl keeps there what kinds the API server has, as it does for a person. */
const home = mkdtempSync(join(tmpdir(), "doctor-home-"));
process.once("exit", () => rmSync(home, { recursive: true, force: true }));

/** A mount namespace of its own: nobody else sees the resolver. */
const SCRIPT = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';

/** `service`: "namespace/name". */
export async function askDoctor(service: string | undefined, options: AskOptions = {}): Promise<Asked> {
  const { resolver = control.address, environment = {}, user = "admin", more = [] } = options;
  const folder = mkdtempSync(join(tmpdir(), "doctor-"));
  const resolv = join(folder, "resolv.conf");
  writeFileSync(resolv, `nameserver ${resolver}\noptions timeout:1 attempts:1\n`);
  const postern = [process.execPath, `${root}cli/main.ts`, "doctor", ...(service === undefined ? [] : [service])];
  const [program = "", ...args] = [
    ...[...inside(control.netns), "unshare", "--mount", "sh", "-c", SCRIPT, resolv],
    ...[...postern, "-o", "json", ...more],
  ];
  const env = {
    PATH: `${work}:${process.env["PATH"]}`,
    HOME: home,
    KUBECONFIG: kubeconfig(user),
    POSTERN_EDGE: edgePlace.url,
    POSTERN_TOKEN: readFileSync(`${edge.folder}/state/admin-token`, "utf8").trim(),
    POSTERN_CLUSTER: edge.cluster,
    ...environment,
  };
  const from = performance.now();
  try {
    return await new Promise((resolve, reject) => {
      execFile(program, args, { env, maxBuffer: 64 << 20, timeout: 60_000 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : Number(error.code ?? 1);
        try {
          const report = reportSchema.parse(JSON.parse(stdout));
          resolve({ report, code, stderr, seconds: (performance.now() - from) / 1000 });
        } catch (cause) {
          reject(
            new Error(`postern doctor ${service}: exit code ${code}: ${stdout.slice(0, 500)} ${stderr}`, { cause }),
          );
        }
      });
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Errors and warnings, each id once, sorted. */
export const wrongsOf = ({ report }: Asked): string[] =>
  [...new Set(report.findings.filter(({ severity }) => severity !== "info").map(({ id }) => id))].sort();
