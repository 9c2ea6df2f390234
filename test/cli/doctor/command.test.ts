// `postern doctor` and `postern analyze` as they are called: what is asked, printed and returned, with kubectl and edge played.
import { describe, expect, it } from "vitest";
import { programOf } from "../../../cli/program.ts";
import { Failed } from "../../../cli/failed.ts";
import type { Effects } from "../../../cli/session.ts";
import { Kubectl } from "../../../cli/kubectl.ts";
import {
  agentPod,
  connection,
  factsOf,
  type Json,
  nodeNames,
  probe,
  service,
  soundBut,
  soundObjects,
} from "./world.ts";

interface Played {
  readonly objects?: readonly Json[];
  /** Status and body by the end of the path. */
  readonly edge?: (path: string) => [number, unknown];
  readonly kubectl?: { readonly code: number; readonly stdout: string; readonly stderr: string };
  readonly files?: Readonly<Record<string, string>>;
  readonly colour?: boolean;
}

const soundEdge = (path: string): [number, unknown] => {
  const { edge } = factsOf();
  if (path.endsWith("/version")) return [200, { software: "postern-edge 0.1.0" }];
  if (path.endsWith("/table")) return [200, { ...edge?.table, listeners: [] }];
  if (path.endsWith("/conditions")) return [200, { services: edge?.conditions }];
  if (path.endsWith("/nodes")) return [200, { nodes: edge?.nodes, silentShards: [] }];
  if (path.endsWith("/probe")) return [200, probe()];
  return [404, {}];
};

async function postern(
  args: readonly string[],
  { objects, edge = soundEdge, kubectl, files = {}, colour = false }: Played = {},
) {
  let out = "";
  const told: string[] = [];
  const calls: string[] = [];
  const written = new Map<string, Uint8Array>();
  const effects = {
    environment: { POSTERN_EDGE: "https://postern.test", POSTERN_TOKEN: "secret", POSTERN_CLUSTER: "home" },
    readConfig: () => ({ contexts: [] }),
    send: ({ url }: { url: URL }) => {
      const [status, body] = edge(url.pathname);
      return Promise.resolve({ status, header: () => undefined, text: JSON.stringify(body) });
    },
    print: (text: string) => void (out += text),
    tell: (line: string) => void told.push(line),
    readText: (file: string) => Promise.resolve(files[file] ?? ""),
    writeBytes: (file: string, bytes: Uint8Array) => void written.set(file, bytes),
    colour,
    pause: () => Promise.resolve(),
    run: (_: string, given: readonly string[]) => {
      calls.push(given.join(" "));
      if (kubectl !== undefined) return Promise.resolve(kubectl);
      const isSystem = given.includes("postern-system");
      const daemonSet = {
        apiVersion: "apps/v1",
        kind: "DaemonSet",
        metadata: { name: "postern-agent", namespace: "postern-system" },
        spec: { template: { spec: { containers: [] } } },
      };
      if (given.includes("/version"))
        return Promise.resolve({ code: 0, stdout: '{"gitVersion":"v1.34.2"}', stderr: "" });
      const items = given.includes("kube-system")
        ? []
        : isSystem
          ? [daemonSet, ...nodeNames.map((name) => agentPod(name))]
          : (objects ?? soundObjects());
      return Promise.resolve({ code: 0, stdout: JSON.stringify({ items }), stderr: "" });
    },
  } as unknown as Effects;
  let failed: unknown;
  await programOf(effects)
    .parseAsync(["node", "postern", ...args])
    .catch((error: unknown) => (failed = error));
  return { out, told, calls, written, failed };
}

const json = (out: string) => JSON.parse(out) as { findings: { id: string; severity: string }[]; hops: object[] };
const broken = { objects: soundBut(service({ selector: { app: "wbe" } })) };

describe("postern doctor", () => {
  it("asks for one namespace where a Service is named, in four calls of kubectl at most and the logs of none", async () => {
    const { calls, failed } = await postern(["doctor", "default/web"]);
    expect(failed).toBeUndefined();
    expect(calls).toHaveLength(4);
    expect(calls[0]).toMatch(
      /^get services,endpointslices,pods,.*,nodes,namespaces -n default -o json --request-timeout=5s$/,
    );
  });

  it("asks for all namespaces where none is named", async () => {
    const { calls, out } = await postern(["doctor", "-o", "json"]);
    expect(calls[0]).toMatch(/ -A -o json/);
    expect(json(out).findings).toEqual([]);
  });

  it("asks who wrote a Service's status where somebody else gave it an address, and names him", async () => {
    const managedFields = [{ manager: "metallb", fieldsV1: { "f:status": { "f:loadBalancer": {} } } }];
    const taken = service({ loadBalancerClass: undefined }, {}, { loadBalancer: { ingress: [{ ip: "192.0.2.7" }] } });
    const edge = (path: string): [number, unknown] =>
      path.endsWith("/conditions") ? [200, { services: {} }] : soundEdge(path);
    const { calls, out } = await postern(["doctor", "web"], {
      edge,
      objects: soundBut({ ...taken, metadata: { ...(taken["metadata"] as Json), managedFields } }),
    });
    expect(calls.at(-1)).toBe("get services -n default --show-managed-fields -o json --request-timeout=5s");
    expect(out).toMatch(/no class, and metallb gave it its address/);
  });

  it("prints a line for every hop, with words where there is no colour", async () => {
    const { out } = await postern(["doctor", "web"]);
    expect(out).toMatch(
      /^Service default\/web\n\n✓ {2}well {5}Edge {22}https:\/\/postern\.test answers, postern-edge 0\.1\.0\n/,
    );
    expect(out).toMatch(/^– {2}unknown {2}Kernel rules/m);
    expect(out).toMatch(/\nNothing is wrong\.\n$/);
    expect(out).not.toContain("\u001b");
    expect((await postern(["doctor", "web"], { colour: true })).out).toContain("\u001b[32m✓\u001b[0m");
  });

  it("ends with 6 where something is wrong, names it, and says what mends it", async () => {
    const { out, failed } = await postern(["doctor", "default/web"], broken);
    expect(out).toMatch(/^✗ {2}WRONG {4}Pods/m);
    expect(out).toMatch(/^error selector-matches-nothing {2}Service default\/web$/m);
    expect(out).toMatch(/^ {2}mend {3}kubectl patch -n default service web/m);
    expect(out).toMatch(/^ {2}page {3}docs\/doctor\.md#selector-matches-nothing$/m);
    expect(failed).toMatchObject({ code: 6, message: "1 error: selector-matches-nothing" });
    expect((failed as Failed).next).toMatch(/^kubectl patch/);
  });

  it("--skip takes a finding away, from the exit code as well", async () => {
    const { out, failed } = await postern(
      ["doctor", "default/web", "--skip", "selector-matches-nothing,dns-missing", "-o", "json"],
      broken,
    );
    expect(json(out).findings).toEqual([]);
    expect(failed).toBeUndefined();
  });

  it.each([
    [["doctor", "--only", "selector-matches-nothin"], /selector-matches-nothing is the nearest/],
    [["doctor", "default/web/more"], /must be NAMESPACE\/NAME/],
  ])("%j is a wrong command line", async (args, says) => {
    const { failed, calls } = await postern(args);
    expect(failed).toMatchObject({ code: 2 });
    expect((failed as Failed).message).toMatch(says);
    expect(calls).toEqual([]);
  });

  it("goes on where no kubectl can be run, and says so", async () => {
    const { out } = await postern(["doctor", "-o", "json"], {
      kubectl: { code: 1, stdout: "", stderr: "Unable to connect to the server" },
    });
    expect(json(out).findings.map(({ id }) => id)).toEqual(["rights-missing"]);
  });

  it("goes on where the edge refuses the token", async () => {
    const { out } = await postern(["doctor", "web", "-o", "json"], {
      ...broken,
      edge: () => [401, { detail: "revoked" }],
    });
    expect(json(out).findings.map(({ id }) => id)).toEqual(["token-refused", "selector-matches-nothing"]);
  });

  it("an older edge, or an agent's token, has no probe: that is a finding beside the others", async () => {
    const edge = (path: string): [number, unknown] => (path.endsWith("/probe") ? [403, {}] : soundEdge(path));
    const { out } = await postern(["doctor", "web", "-o", "json"], { edge });
    expect(json(out).findings.map(({ id, severity }) => `${severity} ${id}`)).toEqual(["warning rights-missing"]);
  });

  it("an agent that is busy is asked once more", async () => {
    let asked = 0;
    const busy = { ok: false as const, stage: "busy" as const, afterMs: 1, heard: true, why: "another probe" };
    const edge = (path: string): [number, unknown] => {
      if (!path.endsWith("/probe")) return soundEdge(path);
      return [200, asked++ === 0 ? probe({ connections: [connection("n1", { probe: busy })] }) : probe()];
    };
    const { out } = await postern(["doctor", "web"], { edge });
    expect(asked).toBe(2);
    expect(out).toMatch(/3 of 3 connections answered a probe/);
  });

  it("--bundle writes a file, and the report is printed as well", async () => {
    const { written, told, out } = await postern(["doctor", "web", "--bundle", "b.tar.gz"]);
    expect([...(written.get("b.tar.gz") ?? [])].slice(0, 2)).toEqual([0x1f, 0x8b]);
    expect(told).toContain("Everything that was asked is in b.tar.gz.");
    expect(out).toMatch(/Nothing is wrong/);
  });
});

describe("what kubectl may not list", () => {
  const forbidden = (kind: string): string =>
    `Error from server (Forbidden): ${kind} is forbidden: User "x" cannot list resource "${kind}" in API group "" at the cluster scope`;

  it("is named, and what it prints counts", async () => {
    const run = () => Promise.resolve({ code: 1, stdout: '{"items":[{"kind":"Node"}]}', stderr: forbidden("pods") });
    const listed = await new Kubectl({ run }, undefined).list(["nodes", "pods"], ["-A"]);
    expect(listed.items).toEqual([{ kind: "Node" }]);
    expect(listed.refused).toEqual([{ what: "pods", why: forbidden("pods") }]);
  });

  it("is asked for without it, where nothing was printed", async () => {
    const asked: string[] = [];
    const run = (_: string, args: readonly string[]) => {
      asked.push(args[1] ?? "");
      const isFirst = asked.length === 1;
      return Promise.resolve(
        isFirst ? { code: 1, stdout: "", stderr: forbidden("pods") } : { code: 0, stdout: '{"items":[]}', stderr: "" },
      );
    };
    const listed = await new Kubectl({ run }, undefined).list(["nodes", "pods"], ["-A"]);
    expect(asked).toEqual(["nodes,pods", "nodes"]);
    expect(listed.refused.map(({ what }) => what)).toEqual(["pods"]);
  });
});

describe("postern analyze", () => {
  const files = { "web.yaml": JSON.stringify(service({ selector: { app: "wbe" } })), "-": "a: [" };

  it("asks nobody without --live", async () => {
    const { calls, failed, out } = await postern(["analyze", "-f", "web.yaml"], { files });
    expect(calls).toEqual([]);
    expect(failed).toBeUndefined();
    expect(out).toMatch(/Nothing is wrong/);
  });

  it("with --live compares with what the cluster has", async () => {
    const { failed, out } = await postern(["analyze", "-f", "web.yaml", "--live", "-o", "json"], { files });
    expect(json(out).findings.map(({ id }) => id)).toEqual(["selector-matches-nothing"]);
    expect(failed).toMatchObject({ code: 6 });
  });

  it("reads stdin", async () => {
    const { out } = await postern(["analyze", "-f", "-", "-o", "json"], { files });
    expect(json(out).findings).toMatchObject([{ id: "object-invalid", object: "File stdin:1" }]);
  });
});
