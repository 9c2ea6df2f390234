// What every Source promises, whatever it reads from. Run over each implementation through a rig that can change and
// break what the source looks at.
import { afterEach, beforeEach, describe, expect, it, onTestFailed } from "vitest";
import type { Observed, Source, SourceProblem } from "../../../agent/source/source.ts";
import { endpoint, node, service, slice, type Written } from "./objects.ts";

export interface SourceRig {
  readonly source: Source;
  put(object: Written): Promise<void>;
  delete(object: Written): Promise<void>;
  /** Makes what describes `object` unusable, as a person or a network would. */
  breakInput(object: Written): Promise<void>;
  /** Makes it usable again, with this content. */
  mend(object: Written): Promise<void>;
  dispose(): Promise<void>;
}

export function sourceConformance(name: string, create: () => Promise<SourceRig>): void {
  describe(`Source: ${name}`, () => {
    let rig: SourceRig;
    let watcher: Watcher;
    beforeEach(async () => {
      rig = await create();
    });
    afterEach(async () => {
      watcher[Symbol.dispose]();
      await rig.dispose();
    });
    const watch = () => {
      watcher = new Watcher(rig.source);
      return watcher;
    };

    it("delivers everything at once, the first time", async () => {
      await rig.put(service("web"));
      await rig.put(slice("web", [endpoint("10.0.0.1", "n1")]));
      await rig.put(node("n1"));
      await watch().until(() => true);
      expect(watcher.seen.map(names)).toEqual([["n1", "web", "web-1"]]);
    });

    it("delivers an empty cluster too", async () => {
      await watch().until(() => true);
      expect(names(watcher.last)).toEqual([]);
    });

    it("delivers additions, changes and deletions", async () => {
      await rig.put(service("web"));
      await watch().until((observed) => observed.services.length === 1);
      await rig.put(service("shop"));
      await watcher.until((observed) => observed.services.length === 2);
      await rig.put(service("web", { ports: [{ port: 81 }] }));
      await watcher.until((observed) => observed.services[1]?.spec.ports[0]?.port === 81);
      await rig.delete(service("shop"));
      await watcher.until((observed) => observed.services.length === 1);
      expect(names(watcher.last)).toEqual(["web"]);
    });

    it("never changes what it has delivered", async () => {
      await rig.put(service("web"));
      await watch().until((observed) => observed.services.length === 1);
      const before = watcher.last;
      const copy = structuredClone(before);
      await rig.put(service("web", { ports: [{ port: 81 }] }));
      await watcher.until((observed) => observed.services[0]?.spec.ports[0]?.port === 81);
      expect(before).toEqual(copy);
    });

    it("sorts by namespace, then name", async () => {
      await rig.put(service("b", {}, { namespace: "a" }));
      await rig.put(service("a", {}, { namespace: "b" }));
      await rig.put(service("a", {}, { namespace: "a" }));
      await watch().until((observed) => observed.services.length === 3);
      expect(watcher.last.services.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual([
        "a/a",
        "a/b",
        "b/a",
      ]);
    });

    it("keeps an object's identity over changes", async () => {
      await rig.put(service("web"));
      await watch().until((observed) => observed.services.length === 1);
      const { uid, creationTimestamp } = watcher.last.services[0]?.metadata ?? {};
      await rig.put(service("web", { ports: [{ port: 81 }] }));
      await watcher.until((observed) => observed.services[0]?.spec.ports[0]?.port === 81);
      expect(watcher.last.services[0]?.metadata).toMatchObject({ uid, creationTimestamp });
    });

    it("keeps the last good state while its input is broken, says so, and recovers", async () => {
      await rig.put(service("web"));
      await rig.put(service("shop"));
      await watch().until((observed) => observed.services.length === 2);
      await rig.breakInput(service("web"));
      await watcher.untilProblems((problems) => problems.length > 0);
      await rig.put(node("n1"));
      await watcher.until((observed) => observed.nodes.length === 1);
      expect(names(watcher.last)).toEqual(["n1", "shop", "web"]);
      await rig.mend(service("web", { ports: [{ port: 82 }] }));
      await watcher.until((observed) => observed.services[1]?.spec.ports[0]?.port === 82);
      await watcher.untilProblems((problems) => problems.length === 0);
    });

    it("tells nothing after it was disposed of", async () => {
      await watch().until(() => true);
      watcher[Symbol.dispose]();
      const second = new Watcher(rig.source);
      await rig.put(service("web"));
      await second.until((observed) => observed.services.length === 1);
      second[Symbol.dispose]();
      expect(watcher.seen.map(names)).toEqual([[]]);
    });
  });
}

const names = (observed: Observed) =>
  [...observed.services, ...observed.endpointSlices, ...observed.nodes].map(({ metadata }) => metadata.name).sort();

/** Awaits what a source tells. */
export class Watcher implements Disposable {
  readonly seen: Observed[] = [];
  problems: readonly SourceProblem[] = [];
  readonly #subscription: Disposable;
  #wake: () => void = () => undefined;

  constructor(source: Source) {
    this.#subscription = source.subscribe(
      (observed) => {
        this.seen.push(observed);
        this.#wake();
      },
      (problems) => {
        this.problems = problems;
        this.#wake();
      },
    );
  }

  get last(): Observed {
    const last = this.seen.at(-1);
    if (last === undefined) throw new Error("nothing observed yet");
    return last;
  }

  /** Until what was observed last is as wanted. */
  async until(wanted: (observed: Observed) => boolean): Promise<void> {
    await this.#wait(() => this.seen.length > 0 && wanted(this.last));
  }

  async untilProblems(wanted: (problems: readonly SourceProblem[]) => boolean): Promise<void> {
    await this.#wait(() => wanted(this.problems));
  }

  async #wait(done: () => boolean): Promise<void> {
    onTestFailed(() =>
      console.error("last told:", JSON.stringify({ seen: this.seen.at(-1), problems: this.problems })),
    );
    while (!done()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
  }
}
