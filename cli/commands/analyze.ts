// `postern analyze -f FILE`: what an apply would break.
import type { Command } from "commander";
import { serviceSettings } from "../../agent/plan/annotations.ts";
import { gathered } from "../arguments.ts";
import { analyze, type Foreseen, fileFacts } from "../doctor/analyze.ts";
import { kubeFacts } from "../doctor/collect.ts";
import { reportText } from "../doctor/print.ts";
import { selectionOf } from "../doctor/select.ts";
import { endWith } from "../doctor/unwell.ts";
import { exitCodes, Failed } from "../failed.ts";
import { Kubectl } from "../kubectl.ts";
import { dataText } from "../output.ts";
import { type Effects, Session } from "../session.ts";

interface Options {
  readonly filename: readonly string[];
  readonly live?: boolean;
  readonly kubeContext?: string;
  readonly cluster?: string;
  readonly listenerPorts?: string;
  readonly tls: boolean;
  readonly defaultClass?: boolean;
  readonly only: readonly string[];
  readonly skip: readonly string[];
}

const EDGE_MS = 4_000;

export function addAnalyze(program: Command, effects: Effects): void {
  program
    .command("analyze")
    .description("what applying a file would break: by itself, or against what the cluster and the edge have")
    .requiredOption("-f, --filename <file>", "YAML or JSON, - for stdin (repeatable)", gathered, [])
    .option("--live", "against what the cluster has, by kubectl, and what the edge offers")
    .option("--kube-context <name>", "the same, with this context of kubectl's")
    .option("--cluster <name>", "the edge's name of the cluster (default: the context's)")
    .option(
      "--listener-ports <ports>",
      "what the edge offers: standard (Cloudflare), any, or a list such as 80,8000-8999",
    )
    .option("--no-tls", "the edge ends no TLS, as one of your own")
    .option("--default-class", "the agents take Services without a class")
    .option("--only <ids>", "these findings alone, separated by commas (repeatable)", gathered, [])
    .option("--skip <ids>", "not these findings (repeatable)", gathered, [])
    .addHelpText(
      "after",
      `
Without --live nothing is asked: a file by itself shows what is wrong within it.
Exit codes: 0 nothing is wrong, 6 something would be.

Examples:
  $ postern analyze -f web.yaml
  $ postern analyze -f web.yaml --live
  $ kubectl kustomize . | postern analyze -f - --listener-ports standard -o json`,
    )
    .action(async (options: Options, command: Command) => {
      const session = new Session(effects, command);
      const selection = selectionOf(options.only, options.skip);
      const texts = await Promise.all(options.filename.map((file) => effects.readText(file)));
      const name = options.filename.join(", ");
      const file = fileFacts(name === "-" ? "stdin" : name, texts.join("\n---\n"));
      const isLive = options.live === true || options.kubeContext !== undefined;
      const live = isLive ? await kubeFacts(new Kubectl(effects, options.kubeContext), undefined) : undefined;
      const unread = live?.unread[0];
      if (unread !== undefined)
        throw new Failed(`${unread.what} cannot be read: ${unread.why}`, { next: "kubectl cluster-info" });
      const names = file.kube.services.flatMap((service) => serviceSettings(service).hostnames);
      const told = {
        ...(live?.agent.defaultClass === undefined ? {} : { defaultClass: live.agent.defaultClass }),
        ...(options.defaultClass === undefined ? {} : { defaultClass: options.defaultClass }),
      };
      const foreseen: Foreseen = {
        ...{ now: Date.now(), listenerPorts: "any", tls: options.tls, domain: "edge.invalid", cluster: "cluster" },
        taken: new Map(),
        ...(isLive ? await offeredBy(session, options.cluster, names) : {}),
        ...(options.listenerPorts === undefined ? {} : { listenerPorts: options.listenerPorts }),
        ...told,
      };
      const report = analyze(file, live, foreseen, selection);
      const { format } = session;
      effects.print(
        format === "json" || format === "yaml" ? dataText(format, report) : reportText(report, effects.colour),
      );
      endWith(report);
    });
}

/** What the edge says of itself and of the names; nothing where none is known. */
async function offeredBy(
  session: Session,
  named: string | undefined,
  hostnames: readonly string[],
): Promise<Partial<Foreseen>> {
  let cluster: string;
  try {
    cluster = named ?? (await session.cluster(undefined));
  } catch (error) {
    if (!(error instanceof Failed) || error.code === exitCodes.failed) throw error;
    session.effects.tell(`No edge is asked: ${error.message}`);
    return {};
  }
  const client = session.client(session.target, EDGE_MS);
  const [probe, ...entries] = await Promise.all([
    client.probe(cluster),
    ...hostnames.map((name) => client.hostname(name)),
  ]);
  const others = entries.flatMap((entry) =>
    entry.ok && entry.value.owner !== cluster ? [[entry.value.hostname, entry.value.owner] as const] : [],
  );
  const offers = probe.ok
    ? { listenerPorts: probe.value.edge.listenerPorts, tls: probe.value.edge.tls, domain: probe.value.edge.domain }
    : {};
  return { cluster, taken: new Map(others), ...offers };
}
