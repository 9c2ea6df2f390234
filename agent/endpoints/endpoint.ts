// One endpoint as this node knows it beyond what Kubernetes says: requests in flight and failures in a row. Shared by all
// Service ports that name the same pod, address and port. Lost at restart.
// Decides nothing: ejection.ts does; Backends owns when one is made, changed or retired.
import type { Candidate } from "../../src/shared/balance/balancer.ts";
import { hash32 } from "../../src/shared/balance/hash.ts";
import type { PlanEndpoint } from "../plan/plan.ts";
import { failed, type Failures, isBroken, isEjected, noFailures } from "./ejection.ts";

/** What those who carry traffic see. Each begin() is followed by exactly one end(). */
export interface EndpointState extends Candidate {
  readonly address: string;
  readonly port: number;
  /** A fallback that is on its way out: do not keep connections to it. */
  readonly terminating: boolean;
  begin(): void;
  end(): void;
  /** It answered: whatever was held against it is forgotten. */
  succeeded(): void;
  /** It refused the connection, or broke its answer. `why` is shown to people. */
  failed(why: string): void;
}

export class Endpoint implements EndpointState {
  readonly key: string;
  readonly hash: number;
  readonly address: string;
  readonly port: number;
  weight: number;
  terminating: boolean;
  inFlight = 0;
  failures: Failures = noFailures;
  readonly #now: () => number;
  readonly #onBrokenChange: () => void;

  constructor(plan: PlanEndpoint, now: () => number, onBrokenChange: () => void) {
    this.key = plan.key;
    this.hash = hash32(plan.key);
    this.address = plan.address;
    this.port = plan.port;
    this.weight = plan.weight;
    this.terminating = plan.terminating;
    this.#now = now;
    this.#onBrokenChange = onBrokenChange;
  }

  begin(): void {
    this.inFlight++;
  }

  end(): void {
    this.inFlight--;
  }

  succeeded(): void {
    if (this.failures !== noFailures) this.#set(noFailures);
  }

  failed(why: string): void {
    this.#set(failed(this.failures, why, this.#now()));
  }

  /** Kubernetes changed its mind about it (it became ready again): start afresh. */
  forgive(): void {
    this.succeeded();
  }

  isEjected(now: number): boolean {
    return isEjected(this.failures, now);
  }

  #set(failures: Failures): void {
    const changed = isBroken(this.failures) !== isBroken(failures);
    this.failures = failures;
    if (changed) this.#onBrokenChange();
  }
}
