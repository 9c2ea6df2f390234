// One row of the packet table: who asks, by which way, and what must come. Pure: rows are played in play.ts.
//
// What may come is said in words, separated by blanks:
//   a1       pod a1 answered, and saw who asked
//   a1*      pod a1 answered, and saw an address of a node instead: masqueraded
//   a        the node itself answered: its rules let the packet through to the host
//   a*       the same, masqueraded
//   gateway  the packet left the node as it was
//   reject   the client was told at once (RST, or ICMP port unreachable)
//   drop     nothing came
// All of the words must be seen, and no other. "one of a1 b1": always the same one.

export const families = ["IPv4", "IPv6"] as const;
export type Family = (typeof families)[number];
export const protocols = ["TCP", "UDP"] as const;
export type Protocol = (typeof protocols)[number];
export const modes = ["nftables", "iptables", "ipvs"] as const;
export type Mode = (typeof modes)[number];
/** To change to. The virtual machine of mode ipvs has no nftables. */
export const otherMode = (mode: Mode): Mode => (mode === "iptables" ? "nftables" : "iptables");

/** Absent modes: what `otherwise` says. "b1, but kube-proxy: b1 drop": it has a fault there, which nobody else may have. */
export type Expectation = string | ({ readonly otherwise: string } & { readonly [mode in Mode]?: string });

export interface Row {
  /** Name of the Service (tables/). */
  readonly service: string;
  readonly from: string;
  /** ClusterIP, ClusterIP:81, ExternalIP, LoadBalancer, NodePort@a, NodePort@a-secondary, NodePort@localhost, Unallocated. */
  readonly to: string;
  readonly expect: Expectation;
  /** Why; or where kube-proxy differs from what is written about it. */
  readonly because?: string;
  /** Absent: both. */
  readonly families?: readonly Family[];
  /** Absent: both, but only TCP where a host answers: its UDP server does not know by which of its addresses it was asked. */
  readonly protocols?: readonly Protocol[];
}

type Parts = Pick<Row, "families" | "protocols">;
/** from, to, what must come, why, and what restricts it. */
export type Line = readonly [
  from: string,
  to: string,
  expect: Expectation,
  because?: string | undefined,
  parts?: Parts,
];

export function rowsOf(service: string, lines: readonly Line[]): Row[] {
  return lines.flatMap(([froms, tos, expect, because, parts]) =>
    froms
      .split(" ")
      .flatMap((from) =>
        tos.split(" ").map((to) => ({ service, from, to, expect, ...(because && { because }), ...parts })),
      ),
  );
}

/** A row in one family, protocol and mode: what is played. */
export interface Case {
  readonly row: Row;
  readonly family: Family;
  readonly protocol: Protocol;
  readonly expected: Expected;
}

export interface Expected {
  readonly text: string;
  readonly words: readonly string[];
  readonly oneOf: boolean;
}

/** `isReference`: it is kube-proxy that is asked, of which its faults are expected. */
export function casesOf(row: Row, mode: Mode, isReference: boolean): Case[] {
  const expected = expectedOf(row.expect, mode, isReference);
  const host = expected.words.some((word) => word === "gateway" || /^[a-z]\*?$/.test(word));
  return (row.families ?? families).flatMap((family) =>
    (row.protocols ?? (host ? (["TCP"] as const) : protocols)).map((protocol) => ({ row, family, protocol, expected })),
  );
}

export function expectedOf(expect: Expectation, mode: Mode, isReference: boolean): Expected {
  return parse(typeof expect === "string" ? expect : (expect[mode] ?? expect.otherwise), isReference);
}

function parse(text: string, isReference: boolean): Expected {
  const [right = "", reference = right] = text.split(", but kube-proxy: ");
  const chosen = isReference ? reference : right;
  const oneOf = chosen.startsWith("one of ");
  return { text: chosen, oneOf, words: (oneOf ? chosen.slice("one of ".length) : chosen).split(" ") };
}

/**
 * Tries before a set is believed to be whole: one of two endpoints is missed by all of them once in 4,096 times. ipvs deals by
 * turns, and every try costs its virtual machine much.
 */
const triesIn: Readonly<Record<Mode, number>> = { nftables: 12, iptables: 12, ipvs: 4 };
/** One of six endpoints is missed by all of these once in 500 million times. */
const TRIES_MAX = 120;

/** `seen`: words and how often each was. "more": another try is needed. */
export function judge(
  { words, oneOf }: Expected,
  seen: ReadonlyMap<string, number>,
  mode: Mode,
): "more" | "right" | "wrong" {
  const tries = [...seen.values()].reduce((sum, count) => sum + count, 0);
  if ([...seen.keys()].some((word) => !words.includes(word))) return "wrong";
  if (oneOf && seen.size > 1) return "wrong";
  // A verdict of rules is always the same; a drop costs its time.
  const all = triesIn[mode];
  const needed = words.length > 1 ? all : words.includes("drop") ? 1 : words.includes("reject") ? 2 : all;
  if (tries < needed) return "more";
  if (oneOf || words.every((word) => seen.has(word))) return "right";
  return tries < TRIES_MAX ? "more" : "wrong";
}
