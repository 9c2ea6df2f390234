// What `npm start` still waits for before it says that it is ready, and what will not serve however long it waits. Pure.
import { CLASS } from "../shared/model/annotations.ts";

export interface Place {
  readonly url: string;
  /** Why the edge answers 503 there, whatever is connected; absent: it serves. */
  readonly unavailable?: string;
}

export interface Observed {
  /** Names of the nodes that the YAML has. */
  readonly nodes: readonly string[];
  /** Those that are connected; or why the edge's API did not tell. */
  readonly connected: ReadonlySet<string> | { readonly problem: string };
  readonly places: readonly Place[];
}

/** What a URL said when it was asked. Neither: it serves. */
export interface UrlAnswer {
  /** Why it does not serve yet. */
  readonly problem?: string;
  /** What the edge says instead of an endpoint's answer, and will go on to say. */
  readonly refuses?: string;
}

export interface Readiness {
  /** Empty: ready. In the order of the alphabet, as the notes are. */
  readonly waiting: readonly string[];
  readonly notes: readonly string[];
}

/** What is missing before it makes sense to ask the URLs. A busy machine is no failure: what the API does not tell is waited for. */
export function missing({ nodes, connected, places }: Observed): string[] {
  const waiting =
    "problem" in connected
      ? [`the edge's API (${connected.problem})`]
      : nodes.filter((name) => !connected.has(name)).map((name) => `node ${name}`);
  if (places.length === 0) waiting.push(`a Service of class ${CLASS}`);
  return waiting.sort();
}

export function readinessOf(answers: ReadonlyMap<string, UrlAnswer>): Readiness {
  const waiting: string[] = [];
  const notes: string[] = [];
  for (const [url, { problem, refuses }] of answers) {
    if (problem !== undefined) waiting.push(`${url} (${problem})`);
    if (refuses !== undefined) notes.push(`${url} does not serve this machine: ${refuses}`);
  }
  return { waiting: waiting.sort(), notes: notes.sort() };
}

/** An answer with the edge's own reason is no endpoint's. Only a refused source stays refused; all else may pass. */
export function judgeAnswer(status: number, reason: string | undefined, text: string): UrlAnswer {
  if (reason === undefined) return {};
  const said = `${status} ${text.slice(0, 200).trim()}`;
  return reason === "source-refused" ? { refuses: said } : { problem: said };
}
