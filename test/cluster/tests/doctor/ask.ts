// Runs `postern doctor` as its user does, where the edge's clients are, with the cluster's resolver.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { parseJson } from "../../../../src/shared/net/reply.ts";
import { control } from "../../harness/places.ts";
import { postern } from "../../tools/postern.ts";

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

/** A mount namespace of its own: nobody else sees the resolver. */
const SCRIPT = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';

/** `service`: "namespace/name". */
export async function askDoctor(service: string | undefined, options: AskOptions = {}): Promise<Asked> {
  const { resolver = control.address, environment = {}, user = "admin", more = [] } = options;
  const folder = mkdtempSync(join(tmpdir(), "doctor-"));
  const resolv = join(folder, "resolv.conf");
  writeFileSync(resolv, `nameserver ${resolver}\noptions timeout:1 attempts:1\n`);
  const args = ["doctor", ...(service === undefined ? [] : [service]), "-o", "json", ...more];
  const within = ["unshare", "--mount", "sh", "-c", SCRIPT, resolv];
  try {
    const { code, stdout, stderr, seconds } = await postern(args, { environment, user, within });
    const report = reportSchema.safeParse(parseJson(stdout)).data;
    if (report === undefined)
      throw new Error(`postern doctor ${service}: exit code ${code}: ${stdout.slice(0, 500)} ${stderr}`);
    return { report, code, stderr, seconds };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Errors and warnings, each id once, sorted. */
export const wrongsOf = ({ report }: Asked): string[] =>
  [...new Set(report.findings.filter(({ severity }) => severity !== "info").map(({ id }) => id))].sort();
