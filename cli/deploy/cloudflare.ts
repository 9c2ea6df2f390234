// What is asked of Cloudflare's API, before a deployment and by the doctor: reads alone. All writing is wrangler's. The token is in a header
// and in no message.
import { z } from "zod";
import type { Incoming, Outgoing, Send } from "../../src/shared/control/client.ts";
import { parseJson, reasonOf } from "../../src/shared/net/reply.ts";
import { exitCodes, Failed } from "../failed.ts";

const API = "https://api.cloudflare.com/client/v4";
export const RIGHTS =
  "Account · Workers Scripts · Edit, Zone · Workers Routes · Edit, Zone · DNS · Edit, Zone · Zone · Read";
const again = "postern deploy, with the same options: it goes on from what is there";

/** Of a token that is none. What lacks a right is 10000, which some wrong tokens get as well. */
const WRONG_TOKEN = new Set([1000, 1001, 6003, 6111, 9106, 9109, 10001]);
const NO_RIGHT = new Set([10000, 10023, 10403]);
const NO_SUCH_WORKER = 10007;

const answerSchema = z.object({
  success: z.boolean(),
  errors: z.array(z.object({ code: z.int(), message: z.string() })).default([]),
  result: z.unknown(),
});

const graphqlSchema = z.object({
  data: z.unknown().optional(),
  errors: z.array(z.object({ message: z.string() })).nullish(),
});

/** Words and exit code for an answer that refuses to tell. `what`: the sentence of whoever asked. */
function readRefusal(what: string, { status, code = 0 }: { status: number; code?: number | undefined }): Failed {
  if (status === 401 || WRONG_TOKEN.has(code))
    return new Failed(`Cloudflare does not take the token in CLOUDFLARE_API_TOKEN: ${what}`, {
      next: "look for a missing part in it, or make one anew (My Profile, API Tokens, Create Custom Token)",
      code: exitCodes.unauthorised,
    });
  return status === 403 || NO_RIGHT.has(code) ? lacksRight(what) : new Failed(what, { next: again });
}

/** For a write that is refused. The token was good for reading before, so it is one. `codes`: of all that was refused. */
export function writeRefusal(what: string, codes: readonly number[]): Failed {
  const isRight = codes.some((code) => NO_RIGHT.has(code) || WRONG_TOKEN.has(code));
  return isRight ? lacksRight(what) : new Failed(what, { next: again });
}

const lacksRight = (what: string): Failed =>
  new Failed(`the token in CLOUDFLARE_API_TOKEN may not do that: ${what}`, {
    next: `give it these rights for this account and zone, then deploy again: ${RIGHTS}`,
    code: exitCodes.unauthorised,
  });

export class Cloudflare {
  readonly #send: Send;
  readonly #base: string;
  readonly #token: string;
  readonly #withinMs: number | undefined;

  /** `withinMs`: how long an answer may take, where a person waits for several. */
  constructor(
    send: Send,
    { CLOUDFLARE_API_BASE_URL: base, CLOUDFLARE_API_TOKEN: token }: NodeJS.ProcessEnv,
    withinMs?: number,
  ) {
    if (token === undefined || token === "")
      throw new Failed("CLOUDFLARE_API_TOKEN is not set", {
        next: `make a token (My Profile, API Tokens) with ${RIGHTS}, and export CLOUDFLARE_API_TOKEN=…`,
        code: exitCodes.usage,
      });
    this.#send = send;
    this.#base = base === undefined || base === "" ? API : base;
    this.#token = token;
    this.#withinMs = withinMs;
  }

  /** The only one that the token reaches. */
  async account(): Promise<string> {
    const accounts = await this.#get(z.array(z.object({ id: z.string(), name: z.string() })), "/accounts");
    const [only, ...more] = accounts ?? [];
    if (only !== undefined && more.length === 0) return only.id;
    const names = [only, ...more].map((each) => (each === undefined ? "none" : `${each.id} (${each.name})`)).join(", ");
    throw new Failed(`which account? The token reaches ${names}`, {
      next: "postern deploy --account ID …",
      code: exitCodes.usage,
    });
  }

  /** The version that is served; undefined where there is no such Worker. */
  async liveVersion(account: string, name: string): Promise<string | undefined> {
    const schema = z.object({
      deployments: z.array(z.object({ versions: z.array(z.object({ version_id: z.string() })) })),
    });
    const found = await this.#get(schema, `/accounts/${account}/workers/scripts/${name}/deployments`);
    return found === undefined ? undefined : (found.deployments[0]?.versions[0]?.version_id ?? "none");
  }

  async secrets(account: string, name: string): Promise<readonly string[]> {
    const schema = z.array(z.object({ name: z.string() }));
    const found = await this.#get(schema, `/accounts/${account}/workers/scripts/${name}/secrets`);
    return (found ?? []).map((each) => each.name);
  }

  /** What has this host already, in words; undefined: nothing, or our own Worker. wrangler would take it over without a question. */
  async hostTaken(account: string, name: string, host: string): Promise<string | undefined> {
    const domainSchema = z.array(z.object({ hostname: z.string(), service: z.string() }));
    const domains = await this.#get(domainSchema, `/accounts/${account}/workers/domains?hostname=${host}`);
    const own = domains?.find(({ hostname }) => hostname === host);
    if (own !== undefined)
      return own.service === name ? undefined : `it is a custom domain of the Worker ${own.service}`;
    const labels = host.split(".");
    for (let from = 0; from < labels.length - 1; from++) {
      const zone = labels.slice(from).join(".");
      const [found] = (await this.#get(z.array(z.object({ id: z.string() })), `/zones?name=${zone}`)) ?? [];
      if (found === undefined) continue;
      const records = await this.#get(
        z.array(z.object({ type: z.string(), content: z.string().default("") })),
        `/zones/${found.id}/dns_records?name=${host}`,
      );
      const [record] = records ?? [];
      return record === undefined ? undefined : `it has a DNS record: ${record.type} ${record.content}`;
    }
    throw new Failed(`no zone of this account has the name ${host}`, {
      next: "add its zone to the account first, or name another --admin-host",
      code: exitCodes.missing,
    });
  }

  /** `data` of the answer of the Analytics API. Fails with unauthorised where the token may not know. */
  async graphql(query: string, variables: Readonly<Record<string, string>>): Promise<unknown> {
    const { what, status, text } = await this.#ask("POST", "/graphql", { query, variables });
    const parsed = graphqlSchema.safeParse(parseJson(text));
    const [error] = parsed.data?.errors ?? [];
    if (parsed.success && error === undefined && status < 400) return parsed.data.data;
    const sentence = `${what}: ${error?.message ?? `HTTP ${status}`}`;
    // A right that is missing is told with status 200 and in words alone.
    const isRight =
      status === 401 ||
      status === 403 ||
      /not authorized|authenticat|unauthorized|does not have access/i.test(error?.message ?? "");
    throw new Failed(sentence, isRight ? { code: exitCodes.unauthorised } : {});
  }

  /** Undefined: no such Worker. */
  async #get<T>(schema: z.ZodType<T>, path: string): Promise<T | undefined> {
    const { what, status, text } = await this.#ask("GET", path);
    const parsed = answerSchema.safeParse(parseJson(text));
    if (!parsed.success) throw readRefusal(`${what} is answered with ${status} and no JSON of the API`, { status });
    const { success, errors, result } = parsed.data;
    const [error] = errors;
    if (error?.code === NO_SUCH_WORKER) return undefined;
    if (!success || status >= 400)
      throw readRefusal(`${what}: ${error === undefined ? status : `${error.message} (${error.code})`}`, {
        status,
        code: error?.code,
      });
    const known = schema.safeParse(result);
    if (known.success) return known.data;
    throw new Failed(`${what} answers something else than this command knows: ${known.error.issues[0]?.message}`);
  }

  async #ask(
    method: Outgoing["method"],
    path: string,
    input?: object,
  ): Promise<Pick<Incoming, "status" | "text"> & { readonly what: string }> {
    const url = new URL(`${this.#base}${path}`);
    const headers = {
      authorization: `Bearer ${this.#token}`,
      ...(input === undefined ? {} : { "content-type": "application/json" }),
    };
    const within = this.#withinMs === undefined ? {} : { withinMs: this.#withinMs };
    const body = input === undefined ? null : JSON.stringify(input);
    try {
      const { status, text } = await this.#send({ method, url, headers, body, ...within });
      return { what: `${method} ${url.pathname}`, status, text };
    } catch (error) {
      throw new Failed(`${url.origin} cannot be reached: ${reasonOf(error)}`, {
        next: again,
        code: exitCodes.unreachable,
      });
    }
  }
}
