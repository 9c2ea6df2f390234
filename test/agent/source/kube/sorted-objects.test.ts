// The kept list is always what sorting all objects anew would give, whatever has changed since it was read last.
import fc from "fast-check";
import { expect, it } from "vitest";
import { SortedObjects } from "../../../../agent/source/kube/sorted-objects.ts";
import type { KubeObject } from "../../../../agent/source/resources.ts";
import { observe } from "../../plan/observe.ts";
import { node, service } from "../objects.ts";

const namespaces = ["a", "a-b", "b"];
const made = (key: string): KubeObject => {
  const [first = "", name] = key.split("/");
  const { services, nodes } = observe(name === undefined ? node(first) : service(name, {}, { namespace: first }));
  return (services[0] ?? nodes[0]) as KubeObject;
};
const naive = (objects: ReadonlyMap<string, KubeObject>): readonly KubeObject[] =>
  [...objects].sort(([a], [b]) => (a.replace("/", "\0") < b.replace("/", "\0") ? -1 : 1)).map(([, object]) => object);

const name = fc.constantFrom("a", "a-b", "b", "c", "web");
const steps = (key: fc.Arbitrary<string>) =>
  fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.record({ do: fc.constantFrom("set", "delete"), key }) },
      { weight: 3, arbitrary: fc.constant({ do: "read", key: "" }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("list"), key }) },
    ),
    { maxLength: 40 },
  );

it.each([
  ["with namespaces", fc.tuple(fc.constantFrom(...namespaces), name).map((parts) => parts.join("/"))],
  ["without", name],
])("is sorted after any changes: kinds %s", (_what, key) => {
  fc.assert(
    fc.property(steps(key), (list) => {
      let objects = new Map<string, KubeObject>();
      const sorted = new SortedObjects();
      for (const step of [...list, { do: "read", key: "" }]) {
        if (step.do === "read") {
          expect(sorted.read(objects)).toEqual(naive(objects));
          expect(sorted.isFresh).toBe(true);
          continue;
        }
        if (step.do === "list") objects = new Map([[step.key, made(step.key)]]);
        else if (step.do === "set") objects.set(step.key, made(step.key));
        else objects.delete(step.key);
        sorted.changed(step.do === "list" ? undefined : step.key);
        expect(sorted.isFresh).toBe(false);
      }
      expect(sorted.read(objects)).toBe(sorted.read(objects));
    }),
    { numRuns: 300 },
  );
});

it("leaves a list that was handed out as it is, and sorts anew after very many changes", () => {
  const objects = new Map(["a/b", "a/c"].map((key) => [key, made(key)]));
  const sorted = new SortedObjects();
  const first = sorted.read(objects);
  objects.set("a/a", made("a/a"));
  sorted.changed("a/a");
  expect(sorted.read(objects)).toHaveLength(3);
  expect(first).toHaveLength(2);
  for (let index = 0; index < 1_000; index++) {
    objects.set(`b/${index}`, made(`b/${index}`));
    sorted.changed(`b/${index}`);
  }
  expect(sorted.read(objects)).toEqual(naive(objects));
});
