// `postern expose`: a workload, a Service or a machine of the LAN gets a public hostname.
import type { Command } from "commander";
import { stringify } from "yaml";
import { DOMAIN } from "../../src/shared/model/annotations.ts";
import { isTrouble, PROGRAMMED } from "../../src/shared/model/conditions.ts";
import {
  addressesOf,
  type ExposeOptions,
  objectsFor,
  parseExposed,
  patchFor,
  serviceFor,
  serviceSchema,
  workloadSchema,
} from "../expose.ts";
import { gathered, whole } from "../arguments.ts";
import { Failed } from "../failed.ts";
import { Kubectl } from "../kubectl.ts";
import { type Effects, Session } from "../session.ts";

interface Options {
  readonly namespace: string;
  readonly name?: string;
  readonly port?: number;
  readonly targetPort?: number;
  readonly hostname: readonly string[];
  readonly dryRun?: boolean;
  readonly kubeContext?: string;
  readonly timeout: number;
}

const LOOK_MS = 500;

export function addExpose(program: Command, effects: Effects): void {
  program
    .command("expose <what>")
    .description("give a workload, a Service or an address of the LAN a public hostname, and wait until it is served")
    .option("-n, --namespace <name>", "where it is", "default")
    .option("--name <name>", "of the Service that is made (default: the workload's)")
    .option("--port <port>", "at which it is reached (default: the containers' ports)", whole)
    .option("--target-port <port>", "at which the pods answer", whole)
    .option("--hostname <name>", "one more name for it, which the cluster may claim (repeatable)", gathered, [])
    .option("--dry-run", "print what would be applied, and change nothing")
    .option("--kube-context <name>", "kubectl's context (default: its current one)")
    .option("--timeout <seconds>", "how long to wait for its hostname", whole, 60)
    .addHelpText(
      "after",
      `
Examples:
  $ postern expose deployment/web
  $ postern expose deployment/web --port 80 --target-port 8080 --hostname shop.example.com
  $ postern expose service/grafana -n monitoring
  $ postern expose 192.168.1.20:8123 --name hass`,
    )
    .action(async (text: string, given: Options, command: Command) => {
      const session = new Session(effects, command);
      const what = parseExposed(text);
      const kubectl = new Kubectl(effects, given.kubeContext);
      const options: ExposeOptions = { ...given, hostnames: given.hostname };
      const inNamespace = ["-n", given.namespace];
      const name = what.kind === "address" ? given.name : (given.name ?? what.name);
      if (what.kind === "service") {
        const patch = patchFor(await kubectl.get(serviceSchema, ...inNamespace, `service/${what.name}`), options);
        if (given.dryRun === true) return effects.print(stringify(patch ?? {}));
        if (patch !== undefined)
          await kubectl.call([
            "patch",
            ...inNamespace,
            "service",
            what.name,
            "--type",
            "merge",
            "-p",
            JSON.stringify(patch),
          ]);
      } else {
        const objects =
          what.kind === "address"
            ? objectsFor(what, options)
            : [
                serviceFor(
                  await kubectl.get(workloadSchema, ...inNamespace, `${what.type}/${what.name}`),
                  what,
                  options,
                ),
              ];
        const yaml = objects.map((object) => stringify(object)).join("---\n");
        if (given.dryRun === true) return effects.print(yaml);
        await kubectl.call(["apply", "-f", "-"], yaml);
      }
      const addresses = await untilServed(effects, kubectl, [...inNamespace, `service/${name}`], given.timeout);
      session.say({ service: `${given.namespace}/${name}`, addresses }, addresses.join("\n"));
    });
}

async function untilServed(
  effects: Effects,
  kubectl: Kubectl,
  what: readonly string[],
  seconds: number,
): Promise<readonly string[]> {
  const { now, pause, tell } = effects;
  const end = now() + seconds * 1000;
  for (let said = false; ; await pause(LOOK_MS)) {
    const service = await kubectl.get(serviceSchema, ...what);
    const { conditions } = service.status;
    const addresses = addressesOf(service);
    const isServed = conditions.some(({ type, status }) => type === PROGRAMMED && status === "True");
    if (isServed && addresses.length > 0) {
      for (const { message } of conditions.filter(isOurTrouble)) tell(message);
      return addresses;
    }
    if (!said) tell("Waiting for its hostname …");
    said = true;
    if (now() < end) continue;
    const [trouble] = conditions.filter(isOurTrouble);
    const why = trouble?.message ?? (conditions.length === 0 ? "no agent has taken it" : "the edge has not taken it");
    throw new Failed(`${what.at(-1)} is not served after ${seconds} s: ${why}`, { next: "postern status" });
  }
}

/** Of Postern's conditions: what others say of the Service is theirs to mend. */
const isOurTrouble = (condition: { readonly type: string; readonly status: string }): boolean =>
  condition.type.startsWith(DOMAIN) && isTrouble(condition);
