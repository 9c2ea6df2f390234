// Tokens of a cluster: made here, returned once, kept as SHA-256. The secret has 256 random bits, so a plain hash is enough:
// nothing can be guessed from it. Comparisons take the same time whatever differs.
/// <reference lib="esnext.typedarrays" />
import { TOKEN_PATTERN } from "./contract.ts";

export interface MintedToken {
  /** Shown once; never stored or logged. */
  readonly token: string;
  /** First 8 hex digits of the hash: names the token in logs and sockets. */
  readonly id: string;
  readonly hash: Uint8Array<ArrayBuffer>;
}

export async function mintToken(cluster: string): Promise<MintedToken> {
  const secret = crypto.getRandomValues(new Uint8Array(32));
  const token = `pst_${cluster}_${secret.toBase64({ alphabet: "base64url", omitPadding: true })}`;
  const hash = await hashToken(token);
  return { token, id: hash.slice(0, 4).toHex(), hash };
}

export async function hashToken(token: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token)));
}

export function sameHash(a: ArrayBuffer | Uint8Array, b: ArrayBuffer | Uint8Array): boolean {
  return a.byteLength === b.byteLength && crypto.subtle.timingSafeEqual(a, b);
}

/** The cluster that a token says it belongs to; undefined where it is no token of ours. */
export const tokenCluster = (token: string): string | undefined => TOKEN_PATTERN.exec(token)?.[1];
