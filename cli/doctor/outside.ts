// Asks a host name as a client of this machine does: DNS, TLS, one GET. An effect, and an honest one: each step ends by itself within
// its time, and what went wrong is what is returned.
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { connect, type PeerCertificate } from "node:tls";
import type { Ask, ListenerAsk } from "./facts.ts";
import { hostHeader } from "../output.ts";
import { lookUp } from "./lookup.ts";

type Where = ListenerAsk;

const ANSWER_MS = 3_000;
const TEXT_MAX = 1_000;

export async function askOutside(where: Where): Promise<Ask> {
  let addresses: readonly string[];
  try {
    addresses = await lookUp(where.hostname);
  } catch (error) {
    return { ...where, addresses: [], failed: reason(error) };
  }
  const [address = ""] = addresses;
  const [certificate, { text, status, reason: said, ms, failed }, isOurs] = await Promise.all([
    where.tls ? certificateOf(where, address) : undefined,
    get(where, address, {}),
    isPostern(where, address),
  ]);
  return {
    ...where,
    addresses,
    ...(certificate === undefined ? {} : { certificate }),
    ...(failed === undefined ? {} : { failed }),
    ...(status === undefined ? {} : { answer: { status, text, ms, ...(said === undefined ? {} : { reason: said }) } }),
    ...(isOurs === undefined ? {} : { isPostern: isOurs }),
  };
}

interface Got {
  readonly status?: number;
  readonly reason?: string;
  readonly text: string;
  readonly ms: number;
  readonly failed?: string;
}

/** The name was looked up once; so the address is what this says, and no other. Certificates are judged apart. */
function get({ hostname, port, tls }: Where, address: string, headers: Record<string, string>): Promise<Got> {
  const from = performance.now();
  const since = (): number => performance.now() - from;
  const host = hostHeader(hostname, port, tls);
  return new Promise((resolve) => {
    const options = {
      host: address,
      port,
      path: "/",
      method: "GET",
      agent: false,
      headers: { host, ...headers },
      timeout: ANSWER_MS,
    };
    const answered = (response: IncomingMessage): void => {
      const given = response.headers["x-postern-reason"];
      const head = {
        status: response.statusCode ?? 0,
        ms: since(),
        ...(typeof given === "string" ? { reason: given } : {}),
      };
      let text = "";
      const done = (): void => {
        resolve({ ...head, text: text.slice(0, TEXT_MAX) });
        response.destroy();
      };
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (text.length >= TEXT_MAX) done();
      });
      response.once("end", done).once("error", done);
      // A body may be endless.
      setTimeout(done, ANSWER_MS).unref();
    };
    const asking = tls
      ? requestHttps({ ...options, servername: hostname, rejectUnauthorized: false }, answered)
      : requestHttp(options, answered);
    asking.once("timeout", () => asking.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)));
    asking.once("error", (error) => resolve({ text: "", ms: since(), failed: reason(error) }));
    asking.end();
  });
}

/** As many marks as no request of a client carries: every Postern edge answers 508 by itself, and no server is asked. */
const LOOPING = { "cdn-loop": Array.from({ length: 16 }, (_, at) => `postern-${at}`).join(", ") };

/** Undefined where nobody answers. */
async function isPostern(where: Where, address: string): Promise<boolean | undefined> {
  const { status, reason: said } = await get(where, address, LOOPING);
  return status === undefined ? undefined : said !== undefined;
}

function certificateOf({ hostname, port }: Where, address: string): Promise<Ask["certificate"]> {
  return new Promise((resolve) => {
    const socket = connect(
      { host: address, port, servername: hostname, rejectUnauthorized: false, timeout: ANSWER_MS },
      () => {
        const { authorized, authorizationError } = socket;
        const shown: Partial<PeerCertificate> = socket.getPeerCertificate();
        resolve({
          wrong: authorized ? "" : String(authorizationError),
          until: shown.valid_to === undefined ? 0 : Date.parse(shown.valid_to),
        });
        socket.destroy();
      },
    );
    // Who does not answer at all is said by get().
    socket.once("timeout", () => socket.destroy(new Error("timeout")));
    socket.once("error", () => resolve(undefined));
  });
}

/** "connect ECONNREFUSED 10.0.0.1:80" */
const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));
