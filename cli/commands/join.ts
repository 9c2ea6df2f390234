// `postern join`: a cluster joins the edge by one `kubectl apply`.
import type { Command } from "commander";
import type { ControlClient } from "../../src/shared/control/client.ts";
import { checkName, gathered, whole } from "../arguments.ts";
import { exitCodes, Failed } from "../failed.ts";
import { Kubectl } from "../kubectl.ts";
import { applied } from "../rollout.ts";
import { type Effects, Session } from "../session.ts";

interface JoinOptions {
  readonly image?: string;
  readonly nodeImage?: string;
  readonly option: readonly string[];
  readonly apply?: boolean;
  readonly kubeContext?: string;
  readonly timeout: number;
}

export function addJoin(program: Command, effects: Effects): void {
  program
    .command("join <cluster>")
    .description("let a Kubernetes cluster join: prints the one command for its kubectl, or runs it")
    .option("--apply", "run it, and wait until every node is connected")
    .option("--kube-context <name>", "with --apply: kubectl's context (default: its current one)")
    .option("--timeout <seconds>", "with --apply: how long to wait for the nodes", whole, 180)
    .option("--node-image <image>", "where the nodes have Node.js 24 from (default: docker.io/library/node:24-slim)")
    .option("--image <image>", "an image with the agent in it (default: the agent is fetched from the edge)")
    .option("--option <name=value>", "an option of the agent, such as default-class=true (repeatable)", gathered, [])
    .addHelpText(
      "after",
      `
Examples:
  $ postern join home
  $ postern join home --apply --kube-context k3s-home
  $ postern join home --node-image registry.example.com/node:24-slim
  $ postern join home --image registry.example.com/postern-agent:0.1.0 --option default-class=true`,
    )
    .action(async (name: string, options: JoinOptions, command: Command) => {
      const session = new Session(effects, command);
      checkName(name);
      const client = session.client();
      await present(session, client, name);
      const { image, nodeImage } = options;
      const input = {
        ...(image === undefined ? {} : { image }),
        ...(nodeImage === undefined ? {} : { nodeImage }),
        options: agentOptions(options.option),
      };
      const code = await session.ask(client.createInstallCode(name, input));
      if (options.apply !== true) {
        session.say({ cluster: name, ...code }, code.command);
        const until = new Date(code.expiresAt).toTimeString().slice(0, 5);
        effects.tell(`Good until ${until} and for ${code.uses} times. Then: postern status ${name}`);
        return;
      }
      const kubectl = new Kubectl(effects, options.kubeContext);
      effects.tell("Applying the agent's manifest …");
      const nodes = await applied(session, client, name, { kubectl, url: code.url, seconds: options.timeout });
      session.say(
        { cluster: name, nodes },
        `Cluster ${name} has joined: ${nodes.join(", ")}. Next: postern status ${name}`,
      );
    });
}

/** Makes it where there is none. */
async function present(session: Session, client: ControlClient, name: string): Promise<void> {
  const known = await client.cluster(name);
  if (known.ok || known.status !== 404) {
    await session.ask(Promise.resolve(known));
    return;
  }
  await session.ask(client.createCluster({ name }));
  session.effects.tell(`Cluster ${name} is new.`);
}

function agentOptions(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf("=");
      if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
      throw new Failed(`--option ${text}: must be name=value`, { next: "postern join --help", code: exitCodes.usage });
    }),
  );
}
