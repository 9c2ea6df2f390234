// `postern doctor`: what is wrong with a Service, or with all of them, hop by hop.
import { type Command, Option } from "commander";
import manifest from "../../package.json" with { type: "json" };
import { gathered } from "../arguments.ts";
import { bundleOf } from "../doctor/bundle.ts";
import { collect, type Sources } from "../doctor/collect.ts";
import { examine } from "../doctor/examine.ts";
import { askOutside } from "../doctor/outside.ts";
import { reportText } from "../doctor/print.ts";
import { quotaFacts } from "../quota.ts";
import { selectionOf } from "../doctor/select.ts";
import { traced } from "../doctor/traced.ts";
import { endWith } from "../doctor/unwell.ts";
import { exitCodes, Failed } from "../failed.ts";
import { Kubectl } from "../kubectl.ts";
import { dataText } from "../output.ts";
import { type Effects, Session } from "../session.ts";

interface Options {
  readonly cluster?: string;
  readonly only: readonly string[];
  readonly skip: readonly string[];
  readonly bundle?: string;
  readonly kubeContext?: string;
  readonly from: "both" | "outside";
}

/** Each answer of the edge, and of its provider; a probe of its nodes takes 2.5 s at most. */
const EDGE_MS = 4_000;
/** Who waits longer is told for what. */
const QUIET_MS = 1_000;

export function addDoctor(program: Command, effects: Effects): void {
  program
    .command("doctor [service]")
    .description(
      "what is wrong with a Service (NAMESPACE/NAME), or with all of them: asked at every hop, from both ends",
    )
    .option("--cluster <name>", "the edge's name of the cluster (default: the context's)")
    .option("--only <ids>", "these findings alone, separated by commas (repeatable)", gathered, [])
    .option("--skip <ids>", "not these findings (repeatable)", gathered, [])
    .addOption(
      new Option("--from <side>", "outside: ask as a client and the edge alone, not Kubernetes, and trace one request")
        .choices(["both", "outside"])
        .default("both"),
    )
    .option("--bundle <file>", "write everything that was asked, secrets left out, to a .tar.gz for whoever helps")
    .option("--kube-context <name>", "kubectl's context (default: its current one)")
    .addHelpText(
      "after",
      `
Exit codes: 0 nothing is wrong, 6 something is.

Examples:
  $ postern doctor
  $ postern doctor default/web
  $ postern doctor default/web --from outside
  $ postern doctor default/web -o json
  $ postern doctor default/web --skip node-not-ready,version-skew
  $ postern doctor --bundle postern.tar.gz`,
    )
    .action(async (service: string | undefined, options: Options, command: Command) => {
      const session = new Session(effects, command);
      const selection = selectionOf(options.only, options.skip);
      const only = service === undefined ? undefined : keyOf(service);
      const kubectl = new Kubectl(effects, options.kubeContext);
      const sources: Sources = {
        kubectl,
        outside: askOutside,
        traced,
        pause: effects.pause,
        wallClock: Date.now,
        ...(await edgeOf(session, effects, options.cluster)),
      };
      const isOutside = options.from === "outside";
      if (isOutside && sources.edge === undefined)
        throw new Failed("--from outside: asks through an edge, and none is known", {
          next: "postern login https://EDGE",
          code: exitCodes.usage,
        });
      const whom = isOutside ? "the edge, and every node through it" : "Kubernetes, the edge and every node";
      const waiting = setTimeout(() => effects.tell(`Asking ${whom} …`), QUIET_MS);
      const facts = await collect(sources, only, isOutside).finally(() => clearTimeout(waiting));
      const report = examine(facts, selection);
      const { format } = session;
      if (options.bundle !== undefined) {
        const logs = isOutside ? "" : await agentLogs(kubectl);
        effects.writeBytes(options.bundle, await bundleOf(facts, report, logs));
        effects.tell(`Everything that was asked is in ${options.bundle}.`);
      }
      effects.print(
        format === "json" || format === "yaml" ? dataText(format, report) : reportText(report, effects.colour),
      );
      endWith(report);
    });
}

/** "default/web"; "web" is in namespace default. */
function keyOf(text: string): string {
  const [, namespace = "default", name] =
    /^(?:([a-z0-9][a-z0-9-]*)\/)?(?:service\/|svc\/)?([a-z0-9][a-z0-9.-]*)$/.exec(text) ?? [];
  if (name !== undefined) return `${namespace}/${name}`;
  throw new Failed(`${text}: must be NAMESPACE/NAME of a Service`, {
    next: "postern doctor default/web",
    code: exitCodes.usage,
  });
}

/** Without an edge Kubernetes' side is examined alone. */
async function edgeOf(session: Session, effects: Effects, named: string | undefined): Promise<Pick<Sources, "edge">> {
  try {
    const { target } = session;
    const cluster = named ?? (await session.cluster(undefined).catch(unlessUsage)) ?? "?";
    const command = `postern ${manifest.version}`;
    const { edge: url } = target;
    const quota = (): ReturnType<typeof quotaFacts> => quotaFacts(effects, url, { now: Date.now(), withinMs: EDGE_MS });
    return { edge: { client: session.client(target, EDGE_MS), url, cluster, command, quota } };
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    // Several clusters, and none was named: only the person knows which.
    if (error.message.startsWith("the edge has")) throw error;
    effects.tell(`No edge is asked: ${error.message}. Next: ${error.next ?? "postern login"}`);
    return {};
  }
}

/** An edge that does not answer is for the doctor to say. */
function unlessUsage(error: unknown): undefined {
  if (error instanceof Failed && (error.code === exitCodes.unreachable || error.code === exitCodes.unauthorised))
    return undefined;
  throw error;
}

async function agentLogs(kubectl: Kubectl): Promise<string> {
  const args = [
    "logs",
    "-n",
    "postern-system",
    "-l",
    "app.kubernetes.io/name=postern-agent",
    "--prefix",
    "--tail",
    "500",
  ];
  return await kubectl.call([...args, "--request-timeout=5s"]).catch(() => "");
}
