// How the agent is installed in a cluster → what an install code must be asked for so that a new manifest keeps it. Pure.
import { z } from "zod";
import type { InstallCodeOptions } from "../src/shared/control/requests.ts";
import { optionOf, settingOf } from "../src/shared/model/option-names.ts";
import { exitCodes, Failed } from "./failed.ts";

/** What the edge fills in by itself, and what every manifest has. */
const OWN = new Set(["edge", "cluster", "insecure-plain-http", "token-file"]);
const PROXY = settingOf("proxy");

export const settingsSchema = z.object({ data: z.record(z.string(), z.string()).default({}) });

const containerSchema = z.object({
  image: z.string(),
  env: z.array(z.object({ name: z.string(), value: z.string().default("") })).default([]),
});
export const agentSchema = z.object({
  spec: z.object({
    template: z.object({
      spec: z.object({
        initContainers: z.array(containerSchema).default([]),
        containers: z.tuple([containerSchema]).rest(containerSchema),
      }),
    }),
  }),
});

/** Throws where a manifest of the edge would take something away that it does not know. */
export function installedAs(
  cluster: string,
  { data }: z.output<typeof settingsSchema>,
  { spec }: z.output<typeof agentSchema>,
): InstallCodeOptions {
  const { initContainers, containers } = spec.template.spec;
  const [{ image, env }] = containers;
  if (env.some(({ name, value }) => name === PROXY && value === "all") || data[PROXY] === "all")
    throw new Failed(
      "these agents are in kube-proxy's place, by an overlay with an image: the edge has no manifest of that",
      {
        next: "kubectl apply -k agent/manifests/overlays/MODE, after the nodes have the new image (docs/install.md, Upgrade)",
      },
    );
  const its = data[settingOf("cluster")];
  if (its !== cluster)
    throw new Failed(
      `the agents in this Kubernetes cluster belong to ${its ?? "no cluster of an edge"}, not to ${cluster}`,
      {
        next:
          its === undefined ? `postern join ${cluster} --apply` : `postern upgrade ${its}, or another --kube-context`,
        code: exitCodes.usage,
      },
    );
  const options = Object.entries(data).flatMap(([name, value]) => {
    const option = optionOf(name);
    return option === undefined || OWN.has(option) ? [] : [[option, value] as const];
  });
  const fetched = initContainers[0];
  return {
    ...(fetched === undefined ? { image } : { nodeImage: fetched.image }),
    options: Object.fromEntries(options),
  };
}
