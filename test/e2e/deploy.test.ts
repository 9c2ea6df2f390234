// `postern deploy` as its user runs it, with wrangler itself, against a stand-in for Cloudflare's API.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ACCOUNT, type Call, CloudflareStandIn, type Right } from "../cli/deploy/stand-in.ts";

const root = new URL("../..", import.meta.url).pathname;
const everything: readonly Right[] = ["account", "scripts", "routes", "dns"];
const TOKEN = "token-of-cloudflare";

let folder: string;
let api: CloudflareStandIn;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-deploy-"));
  api = await CloudflareStandIn.start();
  api.tokens.set(TOKEN, new Set(everything));
  for (const zone of ["example.com", "example.net", "apps.example.org", "weak.example.org", "broken.example.org"])
    api.zones.set(zone, `zone${api.zones.size}`);
});
afterAll(async () => {
  await api.stop();
  rmSync(folder, { recursive: true });
});

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** `kill`: called with what ends it and all that it started, as SIGKILL does. */
async function deploy(
  line: string,
  { env = {}, kill = () => {} }: { env?: NodeJS.ProcessEnv; kill?: (end: () => void) => void } = {},
): Promise<Ran> {
  const own = {
    HOME: folder,
    XDG_STATE_HOME: join(folder, "state"),
    POSTERN_CONFIG: join(folder, "config.yaml"),
    CLOUDFLARE_API_BASE_URL: api.url,
    CLOUDFLARE_API_TOKEN: TOKEN,
  };
  api.calls.length = 0;
  const child = spawn(process.execPath, [join(root, "cli/main.ts"), "deploy", "--timeout", "0", ...line.split(" ")], {
    env: { ...process.env, ...own, ...env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const { pid } = child;
  kill(() => pid !== undefined && process.kill(-pid, "SIGKILL"));
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [code, out, err] = await Promise.all([ended, buffer(child.stdout), buffer(child.stderr)]);
  return { code, out: out.toString(), err: err.toString() };
}

const config = () => readFileSync(join(folder, "config.yaml"), "utf8");
const hosts = "--domain example.com --admin-host postern.example.net";
const isWrite = (of: RegExp) => (call: Call) => call.method !== "GET" && of.test(call.path);

describe("from nothing to an edge, and on from there", () => {
  it("says what it would do, and writes nothing", async () => {
    const { code, out } = await deploy(`${hosts} --dry-run`);
    expect([code, out]).toEqual([0, expect.stringMatching(/domain: example.com\n(.*\n)+.* would be created\. Next: /)]);
    expect(api.writes).toEqual([]);
    expect(() => config()).toThrow(/ENOENT/);
  });

  it("makes Worker, secret, assets, route and admin host, keeps the context, and shows no token", async () => {
    const { code, out, err } = await deploy(hosts);
    expect([code, out, err]).toEqual([
      0,
      expect.stringContaining("https://postern.example.net is created. Next: postern version"),
      expect.stringContaining("does not answer yet"),
    ]);
    expect(api.bindings("postern")).toMatchObject({
      EDGE_DOMAIN: "example.com",
      ADMIN_HOST: "postern.example.net",
      LISTENER_PORTS: "standard",
      ADMIN_TOKEN_SHA256: "secret_text",
      ASSETS: "assets",
      TUNNEL: "durable_object_namespace",
    });
    expect(api.routes).toEqual([{ pattern: "*.example.com/*", zone: "example.com", script: "postern" }]);
    expect(api.domains).toEqual([{ hostname: "postern.example.net", service: "postern" }]);
    expect(api.assets.size).toBe(3);
    const [, token = ""] = /token: (\S+)/.exec(config()) ?? [];
    expect(config()).toMatch(/^current: postern.example.net\n/);
    expect(statSync(join(folder, "config.yaml")).mode & 0o777).toBe(0o600);
    expect(token).toMatch(/^[\w-]{43}$/);
    for (const secret of [token, TOKEN]) expect(out + err).not.toContain(secret);
    const state = join(folder, "state/postern/deploy");
    for (const name of readdirSync(state, { recursive: true, withFileTypes: true })) {
      if (!name.isFile()) continue;
      const text = readFileSync(join(name.parentPath, name.name), "latin1");
      for (const secret of [token, TOKEN]) expect(text.includes(secret), name.name).toBe(false);
    }
  });

  it("leaves alone what is so already", async () => {
    const before = config();
    const { code, out } = await deploy(`${hosts} -o json`);
    expect([code, JSON.parse(out)]).toEqual([0, expect.objectContaining({ action: "none", changes: [] })]);
    expect(api.writes).toEqual([]);
    expect(config()).toBe(before);
    expect((await deploy(hosts)).out).toContain("https://postern.example.net is unchanged.");
  });

  it("applies a setting that changed, with the same admin's token and no asset sent again", async () => {
    const before = config();
    const changed = hosts.replace("example.com", "apps.example.org");
    const dry = await deploy(`${changed} --dry-run`);
    expect([dry.code, dry.out]).toEqual([0, expect.stringContaining("domain: example.com → apps.example.org")]);
    const { code, out } = await deploy(changed);
    expect([code, out]).toEqual([0, expect.stringMatching(/domain: example.com → apps.example.org\n.* is updated\./s)]);
    expect(api.bindings("postern")["EDGE_DOMAIN"]).toBe("apps.example.org");
    expect(api.routes.map(({ pattern }) => pattern)).toEqual(["*.apps.example.org/*"]);
    expect(api.writes.filter((path) => path.includes("assets/upload?"))).toEqual([]);
    expect(config()).toBe(before);
  });

  it("writes all of it where somebody else has deployed since", async () => {
    api.workers.get("postern")?.push({ id: "theirs", bindings: { ADMIN_TOKEN_SHA256: "secret_text" } });
    const { code, out } = await deploy(hosts);
    expect([code, out]).toEqual([0, expect.stringContaining("is updated (it was deployed by somebody else since")]);
    expect(api.bindings("postern")["EDGE_DOMAIN"]).toBe("example.com");
  });

  it("does not take the admin's token away from other machines without being told", async () => {
    const elsewhere = { env: { POSTERN_CONFIG: join(folder, "elsewhere.yaml") } };
    const { code, err } = await deploy(hosts, elsewhere);
    expect([code, err]).toEqual([5, expect.stringMatching(/does not know\nNext: postern login .*--new-admin-token/)]);
    expect(api.writes).toEqual([]);
    expect((await deploy(`${hosts} --new-admin-token`, elsewhere)).code).toBe(0);
  });
});

describe("what is in the way", () => {
  it.each<[what: string, token: string, rights: readonly Right[], said: RegExp]>([
    ["Workers", "weak", ["account", "routes", "dns"], /may not do that: GET .*10000\)\nNext: give it these rights/],
    ["routes", "weak", ["account", "scripts", "dns"], /may not do that: wrangler: .*\nNext: give it these rights/s],
    ["routes, as an account's token", "cfat_weak", ["account", "scripts", "dns"], /may not do that: wrangler: /],
  ])("no right for %s", async (_, token, rights, said) => {
    api.tokens.set(token, new Set(rights));
    const line = "--domain weak.example.org --admin-host weak.example.net --name weak";
    const ran = await deploy(line, { env: { CLOUDFLARE_API_TOKEN: token } });
    expect([ran.code, ran.err]).toEqual([5, expect.stringMatching(said)]);
    // And a repeat with the right ends well.
    expect((await deploy(line)).code).toBe(0);
    expect(api.domains).toContainEqual({ hostname: "weak.example.net", service: "weak" });
    api.workers.delete("weak");
    rmSync(join(folder, "state/postern/deploy/weak.example.net"), { recursive: true });
  });

  it("a wrong token, none, and wrong settings", async () => {
    const wrong = await deploy(hosts, { env: { CLOUDFLARE_API_TOKEN: "nobody's" } });
    expect([wrong.code, wrong.err]).toEqual([5, expect.stringMatching(/does not take the token .*9109\)\nNext: /)]);
    expect(wrong.err).not.toContain("nobody's");
    const none = await deploy(hosts, { env: { CLOUDFLARE_API_TOKEN: "" } });
    expect([none.code, none.err]).toEqual([2, expect.stringMatching(/is not set\nNext: make a token/)]);
    for (const line of ["--domain Example --admin-host a.example.net", `${hosts} --account x`, "--domain example.com"])
      expect((await deploy(line)).code).toBe(2);
    expect(api.calls).toEqual([]);
    const away = await deploy(hosts, { env: { CLOUDFLARE_API_BASE_URL: "http://127.0.0.1:9" } });
    expect([away.code, away.err]).toEqual([4, expect.stringContaining("cannot be reached")]);
  });

  it("an admin host that is somebody's already is not taken over, unless that is said", async () => {
    api.dns.push({ name: "www.example.net", type: "A", content: "192.0.2.1" });
    api.domains.push({ hostname: "api.example.net", service: "other" });
    const line = (host: string) => `--domain example.com --admin-host ${host} --name second`;
    for (const [host, why] of [
      ["www.example.net", "it has a DNS record: A 192.0.2.1"],
      ["api.example.net", "it is a custom domain of the Worker other"],
    ] as const) {
      const { code, err } = await deploy(line(host));
      expect([code, err]).toEqual([1, expect.stringContaining(`${host} is taken: ${why}\nNext: choose another`)]);
      expect(api.writes).toEqual([]);
    }
    const nowhere = await deploy(line("postern.example.edu"));
    expect([nowhere.code, nowhere.err]).toEqual([3, expect.stringContaining("no zone of this account")]);
    expect((await deploy(`${line("www.example.net")} --replace-dns --dry-run`)).code).toBe(0);
  });
});

describe("a deployment that breaks off is ended by a repeat, with the token that was kept", () => {
  const line = "--domain broken.example.org --admin-host broken.example.net --name broken";
  const tokenOf = () => /broken.example.net\n +token: (\S+)/.exec(config().replace(/edge: .*\n/g, ""))?.[1];

  it.each([
    ["the upload", /\/scripts\/broken\?/, "SIGKILL"],
    ["the routes", /\/routes$/, "SIGKILL"],
    ["the admin host", /\/domains\/records$/, "close"],
  ] as const)("at %s (%s, %s)", async (_, path, how) => {
    const breaks = isWrite(path);
    let end = (): void => {};
    api.fault = (call) => {
      if (!breaks(call)) return undefined;
      if (how === "SIGKILL") end();
      return "close";
    };
    const { code, err } = await deploy(line, { kill: (given) => (end = given) });
    api.fault = () => undefined;
    if (how === "SIGKILL") expect(code).toBe(null);
    else expect([code, err]).toEqual([1, expect.stringContaining("Next: postern deploy, with the same options")]);
    expect(api.domains.filter(({ service }) => service === "broken")).toEqual([]);
    const kept = tokenOf();
    expect(kept).toBeDefined();
    expect(config()).not.toMatch(/^current: broken/);
    const again = await deploy(line);
    expect([again.code, again.out]).toEqual([0, expect.stringMatching(/broken.example.net is (created|updated)/)]);
    expect(tokenOf()).toBe(kept);
    expect(api.domains).toContainEqual({ hostname: "broken.example.net", service: "broken" });
    expect(api.bindings("broken")["ADMIN_TOKEN_SHA256"]).toBe("secret_text");
    // Gone, for the next row.
    api.workers.delete("broken");
    api.domains.splice(0, api.domains.length, ...api.domains.filter(({ service }) => service !== "broken"));
    rmSync(join(folder, "state/postern/deploy/broken.example.net/deployed.json"));
  });
});

it("runs in the account that is named", async () => {
  await deploy(`${hosts} --dry-run`, { env: { CLOUDFLARE_ACCOUNT_ID: ACCOUNT } });
  expect(api.calls.map(({ path }) => path)).not.toContain("/accounts");
  expect(api.calls[0]?.path).toBe(`/accounts/${ACCOUNT}/workers/scripts/postern/deployments`);
});
