// The one hash of Postern, shared by edge and agent so that both rank the same client alike.
// FNV-1a with a finaliser (murmur3's), 32 bits, over UTF-16 code units. Not for secrets.
// Changing the function re-deals clients once; of its values only the marks of src/edge/http/headers.ts leave memory.

/** 32-bit hash of `text`, unsigned. */
export function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix32(h);
}

/** A client's address as PickContext.client: 0 where it is unknown, so that the unknown are not all one client. */
export const clientHash = (address: string): number => (address === "" ? 0 : hash32(address));

/** Rendezvous score of one (client, candidate) pair, both already hashed; the highest wins. Unsigned. */
export function pairScore(clientHash: number, candidateHash: number): number {
  return mix32(clientHash ^ Math.imul(candidateHash, 0x9e3779b1));
}

function mix32(value: number): number {
  let h = value;
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  h ^= h >>> 16;
  return h >>> 0;
}
