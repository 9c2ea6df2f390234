// `postern uninstall`: the agent leaves a Kubernetes cluster, in an order that leaves no Service stuck. The work is that of
// agent/manifests/uninstall.sh, which needs no edge and no `postern`.
import type { Command } from "commander";
import { uninstallScript } from "../../src/host/process/programs.ts";
import { exitCodes, Failed } from "../failed.ts";
import { type Effects, Session } from "../session.ts";

interface UninstallOptions {
  readonly yes?: boolean;
  readonly kubeContext?: string;
  readonly removeCluster?: string;
}

export function addUninstall(program: Command, effects: Effects): void {
  program
    .command("uninstall")
    .description("take Postern out of the Kubernetes cluster that kubectl points at")
    .option("--yes", "without being asked for it once more")
    .option("--kube-context <name>", "kubectl's context (default: its current one)")
    .option("--remove-cluster <name>", "then remove this cluster at the edge too, with its tokens and hostnames")
    .addHelpText(
      "after",
      `
Its Services stay, without hostname and finalizer. It may be repeated.

Examples:
  $ postern uninstall --yes
  $ postern uninstall --kube-context k3s-home --remove-cluster home --yes`,
    )
    .action(async ({ yes = false, kubeContext, removeCluster }: UninstallOptions, command: Command) => {
      const session = new Session(effects, command);
      if (kubeContext !== undefined && !/^[^\s'"\\$]+$/.test(kubeContext))
        throw new Failed(`--kube-context ${kubeContext}: has characters that no shell script can pass on`, {
          next: `kubectl config use-context '${kubeContext}', then without --kube-context`,
          code: exitCodes.usage,
        });
      const { run, tell } = effects;
      const context = kubeContext === undefined ? [] : ["--context", kubeContext];
      if (!yes) {
        const { stdout } = await run("kubectl", [...context, "config", "current-context"]);
        throw new Failed(`this ends all that Postern serves of the cluster ${(kubeContext ?? stdout).trim()}`, {
          next: "the same with --yes",
          code: exitCodes.usage,
        });
      }
      // Before anything is taken away: whoever may not do the second half should know now.
      if (removeCluster !== undefined)
        await session.ask(session.client().cluster(removeCluster), "postern cluster list");
      tell("Taking the agent out of the cluster; this may need two minutes …");
      const kubectl = ["kubectl", ...context].join(" ");
      const { code, stdout, stderr } = await run("sh", [uninstallScript], "", { KUBECTL: kubectl });
      if (code !== 0)
        throw new Failed(`it is not all out yet: ${(stderr.trim() || stdout.trim()).split("\n").slice(-5).join(" ")}`, {
          next: "the same again: it goes on from what is left",
        });
      if (removeCluster !== undefined) await session.ask(session.client().deleteCluster(removeCluster));
      session.say(
        { uninstalled: true, ...(removeCluster === undefined ? {} : { removed: removeCluster }) },
        removeCluster === undefined
          ? "Postern is out of this cluster. At the edge: postern cluster remove NAME --yes"
          : `Postern is out of this cluster, and ${removeCluster} is removed at the edge.`,
      );
    });
}
