// Secrets of a cluster, its tokens and install codes: made here, returned once, kept as SHA-256. They have 256 random bits, so a plain hash is enough:
// nothing can be guessed from it. Comparisons take the same time whatever differs.
/// <reference lib="esnext.typedarrays" />

export interface MintedSecret {
  /** Shown once; never stored or logged. */
  readonly secret: string;
  /** First 8 hex digits of the hash: names a token in logs and sockets. */
  readonly id: string;
  readonly hash: Uint8Array<ArrayBuffer>;
}

/** pst: a token, psi: an install code. */
export async function mint(prefix: "pst" | "psi", cluster: string): Promise<MintedSecret> {
  const random = crypto.getRandomValues(new Uint8Array(32));
  const secret = `${prefix}_${cluster}_${random.toBase64({ alphabet: "base64url", omitPadding: true })}`;
  const hash = await hashSecret(secret);
  return { secret, id: hash.slice(0, 4).toHex(), hash };
}

export async function hashSecret(secret: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret)));
}

export function sameHash(a: ArrayBuffer | Uint8Array, b: ArrayBuffer | Uint8Array): boolean {
  return a.byteLength === b.byteLength && crypto.subtle.timingSafeEqual(a, b);
}
