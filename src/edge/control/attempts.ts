// How often one source may send wrong tokens or install codes. Each source has a bucket: BURST attempts, and then one a second. An
// attempt is taken out before it is judged, so that many at once are counted as well; one that was good is given back.
// Memory is bounded: SOURCES_MAX buckets an isolate, of which the one that was used longest ago makes way. Nothing survives
// the isolate, and on Cloudflare each isolate counts for itself.
import { sourceOf } from "../../shared/net/ranges.ts";

const BURST = 20;
const REFILL_MS = 1_000;
const SOURCES_MAX = 10_000;

interface Bucket {
  left: number;
  /** Epoch ms up to which the refill is counted. */
  at: number;
}

export class Attempts {
  readonly #buckets = new Map<string, Bucket>();

  /** False: this source has to wait. `address` may be "": all clients whose address is unknown count as one source. */
  take(address: string, now: number): boolean {
    const source = sourceOf(address);
    const bucket = this.#buckets.get(source) ?? { left: BURST, at: now };
    const refilled = Math.max(0, Math.floor((now - bucket.at) / REFILL_MS));
    bucket.left = Math.min(BURST, bucket.left + refilled);
    bucket.at = bucket.left === BURST ? now : bucket.at + refilled * REFILL_MS;
    // Inserted again at the end: a Map keeps the order of insertion, so its first entry is the one that was used longest ago.
    this.#buckets.delete(source);
    this.#buckets.set(source, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > SOURCES_MAX && oldest !== undefined) this.#buckets.delete(oldest);
    if (bucket.left === 0) return false;
    bucket.left--;
    return true;
  }

  /** The attempt was good. */
  giveBack(address: string): void {
    const bucket = this.#buckets.get(sourceOf(address));
    if (bucket !== undefined) bucket.left = Math.min(BURST, bucket.left + 1);
  }
}
