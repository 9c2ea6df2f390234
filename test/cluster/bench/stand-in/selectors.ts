// Label and field selectors, as far as kube-proxy and the agent use them. Pure. Any other one is refused: an object too
// many or too few would be a silent fault of the benchmark.
import type { KubeObject } from "./objects.ts";

export class UnknownSelector extends Error {}

export function selector(labels: string, fields: string): (object: KubeObject) => boolean {
  const tests = [...parts(labels).map(labelTest), ...parts(fields).map(fieldTest)];
  return (object) => tests.every((test) => test(object));
}

const parts = (list: string): string[] => list.split(",").filter((part) => part !== "");

/** `key`, `!key`, `key=value`, `key!=value` */
function labelTest(part: string): (object: KubeObject) => boolean {
  const [, not, key = "", operator, value] = /^(!?)([\w./-]+)(?:(!=|==?)([\w.-]*))?$/.exec(part) ?? [];
  if (key === "" || (not === "!" && operator !== undefined)) throw new UnknownSelector(part);
  return ({ metadata: { labels = {} } }) => {
    if (operator === undefined) return key in labels === (not === "");
    return (labels[key] === value) === (operator !== "!=");
  };
}

function fieldTest(part: string): (object: KubeObject) => boolean {
  const [, path = "", operator, value] = /^([\w.]+)(!=|==?)([\w.-]*)$/.exec(part) ?? [];
  if (path !== "metadata.name" && path !== "metadata.namespace" && path !== "spec.clusterIP") {
    throw new UnknownSelector(part);
  }
  return (object) => {
    const found = path
      .split(".")
      .reduce<unknown>((from, name) => (from as Record<string, unknown> | undefined)?.[name], object);
    return (found === value) === (operator !== "!=");
  };
}
