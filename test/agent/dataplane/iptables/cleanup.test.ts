// What is removed of a table that somebody else uses, too; and that a large one is read in one go.
import { expect, it } from "vitest";
import { cleanupInput } from "../../../../agent/dataplane/iptables/cleanup.ts";

const isOurs = (_table: string, chain: string) => chain.startsWith("KUBE-");

it("keeps what a foreign chain leads to, however far, and takes the jumps to the rest away", () => {
  const saved = [
    "*nat",
    ":PREROUTING ACCEPT [0:0]",
    ":CNI - [0:0]",
    ":KUBE-MARK - [0:0]",
    ":KUBE-DEEP - [0:0]",
    ":KUBE-GONE - [0:0]",
    "-A PREROUTING -j KUBE-GONE",
    "-A PREROUTING -j KUBE-MARK",
    "-A CNI -p tcp -j KUBE-MARK",
    "-A KUBE-MARK -j KUBE-DEEP",
    "COMMIT",
  ].join("\n");
  const input = cleanupInput(saved, isOurs, Number.POSITIVE_INFINITY);
  expect(input).toContain("-D PREROUTING -j KUBE-GONE");
  expect(input).toContain("-X KUBE-GONE");
  expect(input).not.toMatch(/-[DX] .*KUBE-(MARK|DEEP)/);
});

it("reads a table of 100,000 chains of somebody else's: searching all rules for each would take many minutes", () => {
  const names = Array.from({ length: 100_000 }, (_, index) => `OTHER-${index}`);
  const lines = [
    ...["*nat", ":PREROUTING ACCEPT [0:0]"],
    ...names.map((name) => `:${name} - [0:0]`),
    ...names.flatMap((name, index) => [`-A ${name} -s 10.0.0.1/32 -j MARK`, `-A ${name} -j OTHER-${index + 1}`]),
    "COMMIT",
  ];
  expect(cleanupInput(lines.join("\n"), isOurs, 1_000)).not.toMatch(/-[DX] /);
});
