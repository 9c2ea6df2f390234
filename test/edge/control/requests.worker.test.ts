// What a request must look like: each fault is answered with 400 (413, 415) and the field's name, and changes nothing.
import { afterEach, describe, expect, it } from "vitest";
import {
  ADMIN,
  type Call,
  type Problem,
  call,
  createCluster,
  published,
  service,
  snapshotOf,
  forgetAll,
} from "../worker/edge.ts";

afterEach(forgetAll);

const put = "PUT /api/v1/hostnames/web-default-home.edge.test";
const create = "POST /api/v1/clusters";
const json = "application/json";

/** [what, method and path, request, status, field] */
const faults: readonly (readonly [string, string, Call, number, string])[] = [
  ["no body", create, {}, 400, "body.name"],
  ["not JSON", create, { body: "{", headers: { "content-type": json } }, 400, "body"],
  ["not an object", create, { json: [] }, 400, "body"],
  ["another media type", create, { body: "{}", headers: { "content-type": "text/plain" } }, 415, "header.content-type"],
  ["no name", create, { json: {} }, 400, "body.name"],
  ["name of another type", create, { json: { name: 7 } }, 400, "body.name"],
  ["upper case", create, { json: { name: "Home" } }, 400, "body.name"],
  ["a name with a dot", create, { json: { name: "a.b" } }, 400, "body.name"],
  ["a name that is too long", create, { json: { name: "a".repeat(33) } }, 400, "body.name"],
  ["an unknown field", create, { json: { name: "a", hostname: "x.test" } }, 400, "body.hostname"],
  ["a bad pattern", create, { json: { name: "a", hostnames: ["x.test", "*"] } }, 400, "body.hostnames[1]"],
  ["a pattern inside", create, { json: { name: "a", hostnames: ["x.*.test"] } }, 400, "body.hostnames[0]"],
  ["no shard", create, { json: { name: "a", shards: 0 } }, 400, "body.shards"],
  ["too many shards", create, { json: { name: "a", shards: 9 } }, 400, "body.shards"],
  ["a body that is too large", create, { json: { name: "a".repeat(70_000) } }, 413, "body"],
  ["no members", put, { json: { members: [] } }, 400, "body.members"],
  ["a negative weight", put, { json: { members: [{ cluster: "home", weight: -1 }] } }, 400, "body.members[0].weight"],
  ["a fraction", put, { json: { members: [{ cluster: "home", priority: 0.5 }] } }, 400, "body.members[0].priority"],
  ["a typo", put, { json: { members: [{ cluster: "home", wieght: 1 }] } }, 400, "body.members[0].wieght"],
  ["listed twice", put, { json: { members: [{ cluster: "home" }, { cluster: "home" }] } }, 400, "body.members"],
  [
    "a bad host name",
    "PUT /api/v1/hostnames/UPPER.test",
    { json: { members: [{ cluster: "home" }] } },
    400,
    "param.hostname",
  ],
  ["no generation", "PUT /api/v1/clusters/home/snapshot", { json: snapshotOf() }, 400, "header.postern-generation"],
  [
    "half a generation",
    "PUT /api/v1/clusters/home/snapshot",
    { json: snapshotOf(), headers: { "postern-generation": "3" } },
    400,
    "header.postern-generation",
  ],
  [
    "an unknown encoding",
    "PUT /api/v1/clusters/home/snapshot",
    { json: snapshotOf(), headers: { "postern-generation": "1.1", "content-encoding": "br" } },
    415,
    "header.content-encoding",
  ],
  [
    "YAML",
    "PUT /api/v1/clusters/home/snapshot",
    { body: "version: 1", headers: { "postern-generation": "1.1", "content-type": "application/yaml" } },
    415,
    "header.content-type",
  ],
];

describe("a faulty request", () => {
  it.each(faults)("%s: %s", async (_, where, request, status, field) => {
    const own = await createCluster("home");
    await published("home", own, "1.0", snapshotOf(service("web")));
    const [method, path] = where.split(" ") as [string, string];
    const response = await call(method, path, { token: ADMIN, ...request });
    const problem = await response.json<Problem>();
    expect({ status: response.status, field: problem.field }).toEqual({ status, field });
    expect(await (await call("GET", "/api/v1/clusters", { token: ADMIN })).json()).toMatchObject({
      clusters: [{ name: "home" }],
    });
  });
});
