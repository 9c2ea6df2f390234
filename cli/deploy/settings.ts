// What `postern deploy` is asked to put on Cloudflare, and wrangler's configuration that says so. Pure.
import { z } from "zod";

export interface Settings {
  /** The zone whose names one level below are Services'. */
  readonly domain: string;
  /** API and tunnels. */
  readonly adminHost: string;
  /** The Worker's. */
  readonly name: string;
  readonly account: string;
}

const dnsName = z
  .string()
  .max(190)
  .regex(/^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/);
const schemas = {
  "--domain": dnsName.describe("a DNS name in lower case, such as example.com"),
  "--admin-host": dnsName.describe("a DNS name in lower case, such as postern.example.net"),
  "--name": z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,53}$/)
    .describe("of lower case letters, digits and dashes, 54 at most"),
  "--account": z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .describe("an account's id: 32 hex digits"),
} as const;

/** Words for what is wrong; undefined where nothing is. */
export function wrongIn(given: Readonly<Partial<Record<keyof typeof schemas, string | undefined>>>) {
  for (const [option, schema] of Object.entries(schemas)) {
    const value = given[option as keyof typeof schemas];
    if (value !== undefined && !schema.safeParse(value).success)
      return `${option} must be ${schema.description}, not ${value}`;
  }
  if (given["--admin-host"] !== undefined && given["--admin-host"] === given["--domain"])
    return "--admin-host must be another name than --domain";
  return undefined;
}

/** wrangler.toml as wrangler reads it: what stands at the top, and what production has instead. */
const declaredSchema = z.looseObject({
  env: z.object({
    production: z.looseObject({
      vars: z.record(z.string(), z.string()),
      assets: z.looseObject({}),
    }),
  }),
});

/** For `wrangler deploy`, from a folder in which `main` and `assets` lie. All is built: wrangler is to run no command of its own. */
export function configurationOf(
  wranglerToml: unknown,
  { domain, adminHost, name, account }: Settings,
  files: { readonly main: string; readonly assets: string },
): Record<string, unknown> {
  const { env, ...top } = declaredSchema.parse(wranglerToml);
  const { build: _, vars, assets, ...production } = env.production;
  return {
    ...top,
    ...production,
    name,
    account_id: account,
    main: files.main,
    assets: { ...assets, directory: files.assets },
    routes: [
      { pattern: `*.${domain}/*`, zone_name: domain },
      { pattern: adminHost, custom_domain: true },
    ],
    vars: { ...vars, EDGE_DOMAIN: domain, ADMIN_HOST: adminHost },
    // The account's rights are those of the token; nobody is asked.
    send_metrics: false,
  };
}
