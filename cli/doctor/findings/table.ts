// What the edge knows of a Service: table, directory, and whether it is of now. Pure.
import { isTrouble, PROGRAMMED } from "../../../src/shared/model/conditions.ts";
import type { Facts } from "../facts.ts";
import { type Finding, finding, several } from "../finding.ts";
import { named, readyEndpoints, type Subject } from "../subject.ts";

export function tableFindings(subject: Subject, { edge }: Facts): Finding[] {
  const { stance, key, object, service } = subject;
  if (stance !== "ours" || edge?.conditions === undefined || service.metadata.deletionTimestamp !== undefined)
    return [];
  const known = edge.conditions[key];
  if (known === undefined) {
    const mend = "kubectl -n postern-system logs daemonset/postern-agent --tail 50";
    return [finding("not-published", "error", object, `cluster ${edge.cluster} has published no such Service`, mend)];
  }
  return [...programmed(subject, known), ...directory(subject, edge), ...stale(subject, edge)];
}

type Known = NonNullable<NonNullable<Facts["edge"]>["conditions"]>[string];

/** Causes that other conditions name are theirs to say. */
function programmed(subject: Subject, known: Known): Finding[] {
  const word = known.find(({ type }) => type === PROGRAMMED);
  if (word === undefined || word.status === "True" || known.some((each) => each !== word && isTrouble(each))) return [];
  return [
    finding(
      "not-programmed",
      "error",
      subject.object,
      `${word.reason}: ${word.message}`,
      `kubectl describe ${named(subject)}`,
    ),
  ];
}

function directory(
  { key, object }: Subject,
  { probe, cluster, directory: entries }: NonNullable<Facts["edge"]>,
): Finding[] {
  const probed = probe?.services.find(({ service }) => service === key);
  const known = [...(probed?.hostnames.filter(({ served }) => served) ?? []), ...entries];
  const seen = new Set<string>();
  return known.flatMap(({ hostname, members }) => {
    const isOther = members.length > 0 && members.every((member) => member.cluster !== cluster);
    if (
      !isOther ||
      seen.has(hostname) ||
      (probed !== undefined && !probed.hostnames.some((each) => each.hostname === hostname))
    )
      return [];
    seen.add(hostname);
    const others = several(members.map((member) => member.cluster));
    return [
      finding(
        "directory-other-cluster",
        "error",
        object,
        `${hostname} is served by ${others}`,
        `postern hostnames show ${hostname}`,
      ),
    ];
  });
}

/** The edge's endpoints come from the last publish: ready ones here and none there mean that it is old, or the reverse. */
function stale(subject: Subject, { probe }: NonNullable<Facts["edge"]>): Finding[] {
  const probed = probe?.services.find(({ service }) => service === subject.key);
  if (probed === undefined || subject.service.spec.type === "ExternalName") return [];
  const here = readyEndpoints(subject).length;
  const there = probed.endpoints.ready + probed.endpoints.serving;
  if (here > 0 === there > 0) return [];
  const seen = `the API server has ${here} ready endpoints, the edge has ${there}`;
  return [
    finding(
      "publish-stale",
      "error",
      subject.object,
      seen,
      "kubectl -n postern-system logs daemonset/postern-agent --tail 50",
    ),
  ];
}
