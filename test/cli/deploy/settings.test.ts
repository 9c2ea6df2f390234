// What may be asked of `postern deploy`, and the configuration that wrangler is given for it.
import { experimental_readRawConfig as readRawConfig } from "wrangler";
import { expect, it } from "vitest";
import { configurationOf, wrongIn } from "../../../cli/deploy/settings.ts";

const good = { "--domain": "example.com", "--admin-host": "postern.example.net", "--name": "postern" };

it.each([
  [{}, undefined],
  [{ "--account": "0123456789abcdef0123456789abcdef" }, undefined],
  [
    { "--domain": "*.example.com" },
    "--domain must be a DNS name in lower case, such as example.com, not *.example.com",
  ],
  [{ "--domain": "com" }, "--domain must be a DNS name"],
  [{ "--admin-host": "https://a.example.net" }, "--admin-host must be a DNS name"],
  [{ "--admin-host": "example.com" }, "--admin-host must be another name than --domain"],
  [{ "--name": "Postern" }, "--name must be of lower case letters"],
  [{ "--account": "me" }, "--account must be an account's id"],
])("%j", (given, expected) => {
  const wrong = wrongIn({ ...good, ...given });
  if (expected === undefined) expect(wrong).toBeUndefined();
  else expect(wrong).toContain(expected);
});

it("is production's of wrangler.toml, with the person's names in it, and nothing of the example's", () => {
  const { rawConfig } = readRawConfig({ config: new URL("../../../wrangler.toml", import.meta.url).pathname });
  const settings = { domain: "shop.test", adminHost: "edge.test", name: "mine", account: "acc" };
  const made = configurationOf(rawConfig, settings, { main: "worker.js", assets: "/built/assets" });
  expect(made).toMatchObject({
    name: "mine",
    account_id: "acc",
    main: "worker.js",
    compatibility_date: rawConfig.compatibility_date,
    compatibility_flags: rawConfig.compatibility_flags,
    migrations: rawConfig.migrations,
    durable_objects: rawConfig.env?.["production"]?.durable_objects,
    assets: { directory: "/built/assets", binding: "ASSETS", run_worker_first: true },
    routes: [
      { pattern: "*.shop.test/*", zone_name: "shop.test" },
      { pattern: "edge.test", custom_domain: true },
    ],
    vars: { EDGE_DOMAIN: "shop.test", ADMIN_HOST: "edge.test", LISTENER_PORTS: "standard" },
  });
  expect(made).not.toHaveProperty("env");
  expect(made).not.toHaveProperty("build");
  expect(JSON.stringify(made)).not.toContain("example");
});
