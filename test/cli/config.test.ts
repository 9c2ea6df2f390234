// Whose token goes where: the rules by which a command finds its edge, and the file that they are kept in.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Config, configSchema, targetOf, withContext, withoutContext } from "../../cli/config/config.ts";
import { configFile, readConfig, writeConfig } from "../../cli/config/store.ts";

const home = { name: "home", edge: "https://home.example.com", token: "token-of-home", cluster: "home" };
const rack = { name: "rack", edge: "http://192.168.1.10:8080", token: "token-of-rack" };
const both: Config = { current: "home", contexts: [home, rack] };

describe("the edge that is meant", () => {
  const { name: _home, ...homesTarget } = home;
  const { name: _rack, ...racksTarget } = rack;
  it.each<[string, Parameters<typeof targetOf>, object]>([
    ["the current context's", [both, {}, {}], { target: homesTarget }],
    ["the named one's", [both, { context: "rack" }, {}], { target: racksTarget }],
    ["the environment's", [both, {}, { POSTERN_CONTEXT: "rack" }], { target: racksTarget }],
    [
      "a flag wins over the environment",
      [both, { context: "home" }, { POSTERN_CONTEXT: "rack" }],
      { target: homesTarget },
    ],
    [
      "an empty variable says nothing",
      [both, {}, { POSTERN_CONTEXT: "", POSTERN_EDGE: "", POSTERN_TOKEN: "" }],
      { target: homesTarget },
    ],
    [
      "another token for the same edge",
      [both, {}, { POSTERN_TOKEN: "mine" }],
      { target: { ...homesTarget, token: "mine" } },
    ],
    ["another cluster", [both, {}, { POSTERN_CLUSTER: "shop" }], { target: { ...homesTarget, cluster: "shop" } }],
    [
      "no file at all",
      [{ contexts: [] }, {}, { POSTERN_EDGE: "https://a.test", POSTERN_TOKEN: "mine" }],
      { target: { edge: "https://a.test", token: "mine" } },
    ],
    [
      "the same edge, written otherwise",
      [both, { edge: "https://HOME.example.com/" }, {}],
      { target: { ...homesTarget, edge: "https://HOME.example.com/" } },
    ],
    [
      "no kept token goes to another edge",
      [both, { edge: "https://evil.example.com" }, {}],
      { wrong: "no token for https://evil.example.com is known", next: "postern login https://evil.example.com" },
    ],
    [
      "nothing is known",
      [{ contexts: [] }, {}, {}],
      { wrong: "no edge is known", next: "postern login https://postern.example.com" },
    ],
    [
      "a context that is not there",
      [both, { context: "shop" }, {}],
      { wrong: "there is no context shop", next: "postern context list" },
    ],
    [
      "no token in the clear over the internet",
      [both, { edge: "http://example.com" }, { POSTERN_TOKEN: "mine" }],
      { wrong: expect.stringContaining("must be https://"), next: "postern --help" },
    ],
  ])("%s", (_what, given, found) => {
    expect(targetOf(...given)).toEqual(found);
  });
});

describe("contexts", () => {
  it("replace one of their name, and the last one made is the current one", () => {
    const again = { ...home, token: "another" };
    expect(withContext(both, again)).toEqual({ current: "home", contexts: [rack, again] });
    expect(withContext({ contexts: [] }, rack)).toEqual({ current: "rack", contexts: [rack] });
  });

  it("are forgotten, and none is current then", () => {
    expect(withoutContext(both, "home")).toEqual({ contexts: [rack] });
    expect(withoutContext(both, "rack")).toEqual({ current: "home", contexts: [home] });
  });

  it.each([
    [{ contexts: [home, home] }],
    [{ contexts: [{ ...home, edge: "ftp://home.example.com" }] }],
    [{ contexts: [{ ...home, edge: "http://home.example.com" }] }],
    [{ contexts: [{ ...home, name: "a b" }] }],
    [{ contexts: [{ ...home, tokn: "x" }] }],
  ])("are refused where they cannot be meant so: %j", (written) => {
    expect(configSchema.safeParse(written).success).toBe(false);
  });
});

describe("the file", () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "postern-cli-"));
    file = join(folder, "postern/config.yaml");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("is where it was asked for, else where XDG says, else below the home folder", () => {
    expect(configFile({ POSTERN_CONFIG: "/a/b.yaml", XDG_CONFIG_HOME: "/x" })).toBe("/a/b.yaml");
    expect(configFile({ XDG_CONFIG_HOME: "/x" })).toBe("/x/postern/config.yaml");
    // A relative one does not count, by the specification.
    expect(configFile({ XDG_CONFIG_HOME: "x" })).toMatch(/\/\.config\/postern\/config\.yaml$/);
  });

  it("comes back as it was written, for its owner alone, also over one that all may read, and leaves nothing else", () => {
    expect(readConfig(file)).toEqual({ contexts: [] });
    writeConfig(file, both);
    chmodSync(file, 0o644);
    writeConfig(file, both);
    expect(readConfig(file)).toEqual(both);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "postern")).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(folder, "postern"))).toEqual(["config.yaml"]);
  });

  it.each([
    ["contexts: [{ token: secret-1", "is not YAML"],
    ["contexts: secret-1", "contexts:"],
    ["contexts:\n  - { name: a, edge: secret-1, token: secret-1 }", "contexts.0.edge: must be the URL"],
    ["a: [secret-1]", "Unrecognized key"],
  ])("names what is wrong with it, and tells no secret: %s", (text, why) => {
    writeConfig(file, both);
    writeFileSync(file, text);
    const read = () => readConfig(file);
    expect(read).toThrow(why);
    expect(read).not.toThrow("secret-1");
    expect(readFileSync(file, "utf8")).toBe(text);
  });
});
