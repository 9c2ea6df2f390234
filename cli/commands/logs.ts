// `postern logs`: the requests of a cluster's Services as they are answered, until Ctrl-C.
import type { Command } from "commander";
import { stringify } from "yaml";
import { type LogFilter, logFilterSchema, type LogLine } from "../../src/shared/control/access-log.ts";
import { backoff } from "../../src/shared/net/backoff.ts";
import { exitCodes, Failed } from "../failed.ts";
import { logHead, logText } from "../log-text.ts";
import { type Effects, Session } from "../session.ts";

/** The edge says every 5 s that all is well; who hears nothing for so long, ms, asks anew. */
const SILENT_MS = 20_000;
const RETRY = { firstMs: 1_000, maxMs: 30_000 };

export function addLogs(program: Command, effects: Effects): void {
  program
    .command("logs [cluster]")
    .description(
      "the requests of a cluster's Services as they are answered, until Ctrl-C; nothing is kept before or after",
    )
    .option("--service <namespace/name>", "of this Service")
    .option("--hostname <name>", "to this host name")
    .option("--status <status>", "with this status (404), or of this class (5xx)")
    .option("--method <method>", "of this method")
    .option("--client <address>", "from this address")
    .option("--trace <id>", "whose traceparent has this trace id")
    .addHelpText(
      "after",
      `
A line is written when an answer begins: the time until then is MS, and nothing is said of the body. A status with a reason is the
edge's own answer. -o json and -o yaml write one document a request, with every node that was asked.

Examples:
  $ postern logs
  $ postern logs home --service default/web --status 5xx
  $ postern logs -o wide
  $ postern logs -o json | jq -r 'select(.ms > 1000) | .path'`,
    )
    .action(async (named: string | undefined, options: Readonly<Record<string, string>>, command: Command) => {
      const session = new Session(effects, command);
      const filter = filterOf(options);
      const cluster = await session.cluster(named);
      for (let failures = 0; ; ) {
        let isBegun = false;
        const why = await read(session, cluster, filter, (line) => {
          if (!isBegun) begin(session, failures > 0);
          isBegun = true;
          failures = 0;
          show(session, line);
        });
        // What never worked is for the person to mend; what did is tried again.
        if (!isBegun && failures === 0) throw why;
        const pause = backoff(failures++, RETRY);
        effects.tell(`The log broke off: ${why.message}. Again in ${pause / 1000} s.`);
        await effects.pause(pause);
      }
    });
}

/** The command's own options are the filter's fields. */
function filterOf(options: Readonly<Record<string, string>>): LogFilter {
  const { data, error } = logFilterSchema.safeParse(options);
  if (data !== undefined) return data;
  const [issue] = error.issues;
  throw new Failed(`--${String(issue?.path[0])}: ${issue?.message}`, {
    next: "postern logs --help",
    code: exitCodes.usage,
  });
}

/** Ends with why it ended. */
async function read(
  session: Session,
  cluster: string,
  filter: LogFilter,
  onLine: (line: LogLine) => void,
): Promise<Error> {
  const silent = new AbortController();
  const restart = (): NodeJS.Timeout =>
    setTimeout(() => silent.abort(new Error(`nothing came for ${SILENT_MS / 1000} s`)), SILENT_MS);
  let timer = restart();
  try {
    const reading = session.client().logs(
      cluster,
      filter,
      (line) => {
        clearTimeout(timer);
        timer = restart();
        onLine(line);
      },
      silent.signal,
    );
    await session.ask(reading, "postern cluster list");
    return new Failed("the edge ended it", { code: exitCodes.unreachable });
  } catch (error) {
    if (error instanceof Failed) return error;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function begin({ effects, format }: Session, isAgain: boolean): void {
  if (isAgain) effects.tell("The log goes on.");
  else if (format === "table" || format === "wide") effects.print(logHead(format === "wide"));
}

function show({ effects, format }: Session, line: LogLine): void {
  if (line.kind === "left-out") effects.tell(`${line.count} requests are not shown: there were too many at once.`);
  if (line.kind !== "request") return;
  const { request } = line;
  if (format === "json") effects.print(`${JSON.stringify(request)}\n`);
  else if (format === "yaml") effects.print(`---\n${stringify(request)}`);
  else effects.print(logText(request, format === "wide"));
}
