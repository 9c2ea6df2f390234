// What keeps the edge from hearing of a node, and that it hears of it once that is mended.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Announcer } from "../../agent/announcer.ts";
import { type EdgeSide, startEdgeSide } from "../../agent/edge-side.ts";
import { Backends } from "../../agent/endpoints/endpoints.ts";
import { Health } from "../../agent/health/healthz.ts";
import { LogOnce } from "../../agent/log-once.ts";
import type { Observed } from "../../agent/source/source.ts";
import type { Snapshot } from "../../src/shared/model/snapshot.ts";
import { observe } from "./plan/observe.ts";
import { node, service } from "./source/objects.ts";
import { TestEdge } from "./tunnel/edge.ts";

const rules = {
  defaultClass: true,
  allowExternalName: [],
  clusterDomain: "cluster.local",
  ignoreExcludeLabel: false,
  endpointAlgorithms: ["random"] as const,
  forwards: "all" as const,
};
const alone = observe(node("n1"));
const beside = observe(node("n1"), service("speaker", { loadBalancerClass: null }, { namespace: "metallb-system" }));

describe("edge side", () => {
  let edge: TestEdge;
  /** Of each snapshot that was published: its Services. */
  let published: string[][];
  let folder: string;
  let tokenFile: string;
  let served: Observed | undefined;
  let refusals: string[];
  let errors: string[];
  let side: EdgeSide;

  beforeEach(async () => {
    [published, served, refusals, errors, edge] = [[], undefined, [], [], new TestEdge()];
    folder = await mkdtemp(join(tmpdir(), "postern-edge-side-"));
    tokenFile = join(folder, "token");
    const answer = async (request: IncomingMessage, response: ServerResponse) => {
      const body = await buffer(request);
      if (request.method !== "PUT") return response.end(JSON.stringify({ epoch: 1 }));
      const { services } = JSON.parse(gunzipSync(body).toString()) as Snapshot;
      published.push(services.map(({ name }) => name));
      const generation = { epoch: 1, sequence: 1 };
      return response.end(JSON.stringify({ generation, table: 1, changed: true, services: {} }));
    };
    edge.http.on("request", (request, response) => void answer(request, response));
    const log = pino({ level: "error" }, { write: (line: string) => errors.push(line) });
    side = startEdgeSide({
      edge: { edge: await edge.start(), cluster: "home", tokenFile },
      options: { node: "n1", instance: "i1", "default-class": true, "force-default-class": false },
      ...{ software: "test", bundle: undefined, rules, backends: new Backends(), health: new Health(), log },
      logOnce: new LogOnce(() => undefined),
      ...{ answerProbe: () => undefined, api: undefined },
      served: () => served,
      refused: () => new Map(),
      incomplete: () => new Map(),
      onRefusal: (why) => refusals.push(why),
    });
  });
  afterEach(async () => {
    await side.stopAnnouncing();
    side.close();
    await edge.stop();
    await rm(folder, { recursive: true });
  });

  /** As the agent does once the node serves what it observed. */
  const serve = (observed: Observed) => {
    side.observe(observed);
    served = observed;
    side.dial();
    side.announce();
  };
  const hasToken = () => writeFile(tokenFile, "pst_home_0123456789\n");
  const isPublished = (...services: string[]) =>
    vi.waitFor(() => expect(published).toEqual([services]), { timeout: 10_000 });

  it("dials and publishes, whatever comes beside what serves already", async () => {
    await hasToken();
    side.observe(alone);
    serve(beside);
    await Promise.all([edge.connection(), isPublished("speaker")]);
    expect(refusals).toEqual([]);
  });

  it("is silent beside another controller, says so once, and works when that is gone", async () => {
    serve(beside);
    serve(beside);
    expect(refusals).toEqual([expect.stringMatching(/^--default-class: MetalLB already serves/)]);
    // A dial would have said that there is no token.
    expect(errors).toEqual([]);
    await hasToken();
    side.observe(alone);
    served = alone;
    // The plan may be the same one: then nothing is applied, and nothing says dial().
    side.announce();
    await Promise.all([edge.connection(), isPublished()]);
  });

  it("publishes nothing before there is a token, and both when there is one", { timeout: 15_000 }, async () => {
    // Whoever publishes first takes the Lease.
    const lead = vi.spyOn(Announcer.prototype, "announce");
    serve(alone);
    expect(errors).toHaveLength(1);
    expect(lead).not.toHaveBeenCalled();
    await hasToken();
    await Promise.all([edge.connection(), isPublished()]);
    lead.mockRestore();
  });
});
