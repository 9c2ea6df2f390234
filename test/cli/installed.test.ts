// What an upgrade keeps of an installation, and where it must not write over it.
import { describe, expect, it } from "vitest";
import { agentSchema, installedAs, settingsSchema } from "../../cli/installed.ts";

const settings = (more: Record<string, string> = {}) =>
  settingsSchema.parse({
    data: {
      POSTERN_EDGE: "http://10.0.0.1:8787",
      POSTERN_CLUSTER: "home",
      POSTERN_INSECURE_PLAIN_HTTP: "true",
      POSTERN_TOKEN_FILE: "/run/secrets/postern/token",
      ...more,
    },
  });
const agent = (image: string, { fetched = true, env = [] as { name: string; value?: string }[] } = {}) =>
  agentSchema.parse({
    spec: {
      template: {
        spec: {
          ...(fetched ? { initContainers: [{ name: "fetch", image }] } : {}),
          containers: [{ name: "agent", image, env }],
        },
      },
    },
  });

describe("an installation that is upgraded", () => {
  it("keeps its options, by the names that install codes have for them", () => {
    const given = settings({ POSTERN_DEFAULT_CLASS: "true", POSTERN_DIRECT_ADDRESS_TYPE: "InternalIP", OTHER: "x" });
    const { options } = installedAs("home", given, agent("node:24-slim"));
    expect(options).toEqual({ "default-class": "true", "direct-address-type": "InternalIP" });
  });

  it("keeps where its nodes have Node.js from", () =>
    expect(installedAs("home", settings(), agent("mirror/node:24-slim"))).toEqual({
      nodeImage: "mirror/node:24-slim",
      options: {},
    }));

  it("keeps the image with the agent in it", () =>
    expect(installedAs("home", settings(), agent("mirror/postern-agent:1", { fetched: false }))).toEqual({
      image: "mirror/postern-agent:1",
      options: {},
    }));

  it.each([
    ["by its DaemonSet", settings(), [{ name: "POSTERN_PROXY", value: "all" }]],
    ["by its settings", settings({ POSTERN_PROXY: "all" }), [{ name: "HOST_IP" }]],
  ])("is left alone in kube-proxy's place, %s", (_, given, env) =>
    expect(() => installedAs("home", given, agent("postern-agent-kernel:1", { fetched: false, env }))).toThrow(
      "in kube-proxy's place",
    ),
  );

  it("is left alone where it belongs to another cluster, which is named", () => {
    expect(() => installedAs("rack", settings(), agent("node:24-slim"))).toThrow("belong to home, not to rack");
    expect(() => installedAs("rack", settingsSchema.parse({}), agent("node:24-slim"))).toThrow("no cluster of an edge");
  });
});
