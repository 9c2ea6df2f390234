// Services of one API server, as a user writes and sees them, for tests of the controller: all in the namespace default.
import { afterEach, expect, vi } from "vitest";
import { type Answer, type Call, STRATEGIC_MERGE } from "../../../../agent/kube/api.ts";
import { service as written, type Written } from "../../../agent/source/objects.ts";
import type { ApiServer } from "../../harness/api-server.ts";

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}
export interface Found {
  readonly metadata: {
    readonly uid: string;
    readonly finalizers?: readonly string[];
    readonly resourceVersion: string;
  };
  readonly spec: { readonly type: string; readonly loadBalancerClass?: string };
  readonly status: {
    readonly loadBalancer: { readonly ingress?: readonly { readonly hostname?: string; readonly ports?: object[] }[] };
    readonly conditions?: readonly Condition[];
  };
}
export interface FoundEvent {
  readonly reason: string;
  readonly message: string;
  readonly type: string;
  readonly count: number;
  readonly involvedObject: { readonly name: string; readonly uid: string };
}

/** A Service as a user writes it: the API server gives it its address. */
export function service(name: string, spec: object = {}, metadata: object = {}): Written {
  const whole = written(name, spec, metadata);
  const { clusterIP: _allocated, ...rest } = whole["spec"] as { clusterIP: string };
  return { ...whole, spec: { ...rest, ...spec } };
}

export const until = <T>(check: () => T | Promise<T>, timeout = 20_000): Promise<T> =>
  vi.waitFor(check, { timeout, interval: 20 });
export const pathOf = (name: string): string => `/api/v1/namespaces/default/services/${name}`;
export const hostnameOf = (name: string): string => `${name}-default-home.edge.test`;

export class Services {
  readonly #server: ApiServer;

  constructor(server: ApiServer) {
    this.#server = server;
  }

  async get(name: string): Promise<Found> {
    return (await this.#server.ask("GET", pathOf(name))) as Found;
  }

  async hostnames(name: string): Promise<readonly (string | undefined)[]> {
    return ((await this.get(name)).status.loadBalancer.ingress ?? []).map(({ hostname }) => hostname);
  }

  async finalizers(name: string): Promise<readonly string[]> {
    return (await this.get(name)).metadata.finalizers ?? [];
  }

  /** type → "status reason" */
  async conditions(name: string): Promise<Readonly<Record<string, string>>> {
    const { status } = await this.get(name);
    return Object.fromEntries((status.conditions ?? []).map(({ type, ...c }) => [type, `${c.status} ${c.reason}`]));
  }

  /** Oldest first, as `kubectl describe` shows them. */
  async events(name: string): Promise<readonly FoundEvent[]> {
    const query = { fieldSelector: `involvedObject.kind=Service,involvedObject.name=${name}` };
    const list = (await this.#server.ask("GET", "/api/v1/namespaces/default/events", { query })) as {
      items: FoundEvent[];
    };
    return list.items;
  }

  async isServed(name: string): Promise<void> {
    await until(async () => expect(await this.hostnames(name)).toEqual([hostnameOf(name)]));
  }

  /** The Event is written after the status. */
  async isToldServed(name: string): Promise<void> {
    const { uid } = (await this.get(name)).metadata;
    await until(async () => {
      const its = (await this.events(name)).filter(({ involvedObject }) => involvedObject.uid === uid);
      expect(its.map(({ reason }) => reason)).toContain("EnsuredLoadBalancer");
    });
  }

  /** For a test file: another try of a failed test finds its names free. Those in `but` stay. */
  freeAfterFailure(...but: readonly string[]): void {
    afterEach(async ({ task }) => {
      if (task.result?.state === "fail") await this.removeAll(...but);
    });
  }

  /** All Services but those, with their Events, and without waiting for whoever has a finalizer on one. */
  async removeAll(...but: readonly string[]): Promise<void> {
    const all = "/api/v1/namespaces/default";
    const { items } = (await this.#server.ask("GET", `${all}/services`)) as { items: { metadata: { name: string } }[] };
    const names = items.map(({ metadata }) => metadata.name).filter((name) => !["kubernetes", ...but].includes(name));
    for (const name of names) {
      await this.patch(name, { metadata: { finalizers: null } });
      await this.#server.api("admin").call("DELETE", pathOf(name));
    }
    for (const name of names) await this.isGone(name);
    await this.#server.ask("DELETE", `${all}/events`);
  }

  async isGone(name: string, timeout?: number): Promise<void> {
    await until(async () => {
      const answer = await this.#server.api("admin").call("GET", pathOf(name));
      expect(answer).toMatchObject({ kind: "status", status: 404 });
    }, timeout);
  }

  async patch(name: string, body: object): Promise<unknown> {
    return await this.#server.ask("PATCH", pathOf(name), { body, contentType: "application/merge-patch+json" });
  }

  /** As another controller does it, with rights of its own. */
  async overwrite(name: string, body: object, fieldManager: string): Promise<unknown> {
    const query = { fieldManager };
    return await this.#server.ask("PATCH", `${pathOf(name)}/status`, { query, body, contentType: STRATEGIC_MERGE });
  }

  /** Applied, and the answer as it is: for what may be refused. */
  async try(who: "admin" | "agent", name: string, call: Call): Promise<Answer> {
    return await this.#server
      .api(who)
      .call("PATCH", `${pathOf(name)}/status`, { contentType: STRATEGIC_MERGE, ...call });
  }
}
