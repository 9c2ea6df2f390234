// A host name's addresses as a client of this machine gets them. An effect.
import { lookup } from "node:dns/promises";
import { isLocalhost } from "../../src/shared/net/nearby.ts";

const LOOKUP_MS = 1_500;

/** Rejects where there is none within LOOKUP_MS. Not every resolver knows names below localhost. */
export async function lookUp(hostname: string): Promise<readonly string[]> {
  if (isLocalhost(hostname)) return ["127.0.0.1"];
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${LOOKUP_MS / 1000} s`)), LOOKUP_MS);
  });
  try {
    const all = await Promise.race([lookup(hostname, { all: true }), late]);
    return all.map(({ address }) => address);
  } finally {
    clearTimeout(timer);
  }
}
