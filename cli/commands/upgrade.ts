// `postern upgrade`: the agents of a cluster become those of its edge.
import type { Command } from "commander";
import { checkName, whole } from "../arguments.ts";
import { agentSchema, installedAs, settingsSchema } from "../installed.ts";
import { Kubectl } from "../kubectl.ts";
import { applied } from "../rollout.ts";
import { type Effects, Session } from "../session.ts";

interface UpgradeOptions {
  readonly image?: string;
  readonly kubeContext?: string;
  readonly timeout: number;
}

const NAMESPACE = ["-n", "postern-system"];

export function addUpgrade(program: Command, effects: Effects): void {
  program
    .command("upgrade <cluster>")
    .description("give a cluster the agent of its edge, with the options that it has; no request is lost")
    .option("--image <image>", "where agents run from an image with the agent in it: the new one")
    .option("--kube-context <name>", "kubectl's context (default: its current one)")
    .option("--timeout <seconds>", "how long to wait for the nodes", whole, 300)
    .addHelpText(
      "after",
      `
The edge comes first: start the new one with the same state, or postern deploy. Then:

Examples:
  $ postern version
  $ postern upgrade home
  $ postern upgrade home --image registry.example.com/postern-agent:0.2.0`,
    )
    .action(async (name: string, { image, kubeContext, timeout }: UpgradeOptions, command: Command) => {
      const session = new Session(effects, command);
      checkName(name);
      const client = session.client();
      const { software } = await session.ask(client.version());
      const kubectl = new Kubectl(effects, kubeContext);
      const as = installedAs(
        name,
        await kubectl.get(settingsSchema, ...NAMESPACE, "configmap", "postern-agent"),
        await kubectl.get(agentSchema, ...NAMESPACE, "daemonset", "postern-agent"),
      );
      const code = await session.ask(
        client.createInstallCode(name, image === undefined ? as : { image, options: as.options }),
        "postern cluster list",
      );
      effects.tell(`Applying the manifest of ${software}, one node after the other …`);
      const nodes = await applied(session, client, name, { kubectl, url: code.url, seconds: timeout });
      session.say(
        { cluster: name, edge: software, nodes },
        `Cluster ${name} has the agent of ${software} on ${nodes.join(", ")}. Look: postern version`,
      );
    });
}
