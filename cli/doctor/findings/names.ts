// What asking a host name from this machine brought: DNS, certificate, and who answers what. Pure.
import { webAddress } from "../../output.ts";
import type { Ask, Facts } from "../facts.ts";
import { type Finding, finding, several } from "../finding.ts";
import { named, patch, readyEndpoints, type Subject } from "../subject.ts";

const EXPIRING_MS = 14 * 24 * 3_600_000;
const DAY_MS = 24 * 3_600_000;

/** What servers that take TLS alone say to plain HTTP: nginx, Go, Apache, and others alike. */
const WANTS_TLS =
  /plain HTTP request was sent to HTTPS port|HTTP request to an HTTPS server|speaking plain HTTP to an SSL/i;

export function nameFindings(subject: Subject, facts: Facts): Finding[] {
  const asks = facts.asks.filter(({ service }) => service === subject.key);
  return [
    ...dns(subject, asks),
    ...asks.flatMap((ask) => [...certificate(subject, ask, facts.now), ...answer(subject, ask, facts)]),
    ...refusedByProbe(subject, facts, asks),
  ];
}

const urlOf = ({ hostname, port, tls }: Ask): string => `${webAddress(hostname, port, tls)}/`;

/** Once for each name, whatever ports it has. */
function dns({ object }: Subject, asks: readonly Ask[]): Finding[] {
  const lost = asks.filter(({ addresses }) => addresses.length === 0);
  const names = [...new Map(lost.map((ask) => [ask.hostname, ask])).values()];
  return names.map(({ hostname, failed = "" }) =>
    finding(
      "dns-missing",
      "error",
      object,
      `${hostname}: ${failed}`,
      `dig ${hostname}   # then let your DNS send it, or *.${hostname.slice(hostname.indexOf(".") + 1)}, to the edge's address`,
    ),
  );
}

function certificate({ object }: Subject, ask: Ask, now: number): Finding[] {
  if (ask.certificate === undefined) return [];
  const { wrong, until } = ask.certificate;
  const show = `openssl s_client -connect ${ask.hostname}:${ask.port} -servername ${ask.hostname} </dev/null`;
  if (wrong !== "") return [finding("certificate-invalid", "error", object, `${urlOf(ask)}: ${wrong}`, show)];
  if (until - now > EXPIRING_MS) return [];
  const days = Math.max(0, Math.floor((until - now) / DAY_MS));
  return [finding("certificate-expiring", "warning", object, `${urlOf(ask)}: it ends in ${days} days`, show)];
}

function answer(subject: Subject, ask: Ask, facts: Facts): Finding[] {
  const { object } = subject;
  const url = urlOf(ask);
  if (ask.addresses.length === 0) return [];
  const curl = `curl -i ${url}`;
  if (ask.isPostern === false)
    return [
      finding(
        "dns-elsewhere",
        "error",
        object,
        `${url} at ${several(ask.addresses)} is answered${ask.answer === undefined ? "" : ` with ${ask.answer.status}`} by no Postern edge`,
        `dig ${ask.hostname}   # let your DNS send it to the edge's address`,
      ),
    ];
  if (ask.answer === undefined && ask.isPostern === true)
    return [
      finding(
        "answer-failed",
        "error",
        object,
        `${url}: the edge takes the request, and then: ${ask.failed ?? ""}`,
        curl,
      ),
    ];
  if (ask.answer === undefined)
    return [
      finding("listener-closed", "error", object, `${url} at ${several(ask.addresses)}: ${ask.failed ?? ""}`, curl),
    ];
  const { status, reason, text } = ask.answer;
  if (reason === "source-refused") return [refusal(subject, facts, `${url}: 403 source-refused`)];
  if (WANTS_TLS.test(text)) return [differs(subject, "error", `${url}: ${status}, the server says: ${clause(text)}`)];
  if (reason === "bad-gateway-answer")
    return [differs(subject, "error", `${url}: ${status} ${reason}: what the server said is no HTTP/1.1`)];
  if (reason === "endpoint-broke")
    return [
      differs(subject, "warning", `${url}: ${status} ${reason}: the server closed the connection without an answer`),
    ];
  // Why no endpoint is ready, or no node is left, is for the other hops to say.
  if (reason === undefined || isSaidElsewhere.has(reason)) return [];
  return [finding("answer-failed", "error", object, `${url}: ${status} ${reason}`, curl)];
}

const isSaidElsewhere: ReadonlySet<string> = new Set(["no-endpoints", "no-eligible-nodes"]);

function differs(subject: Subject, severity: "error" | "warning", seen: string): Finding {
  const { namespace } = subject.service.metadata;
  const target = readyEndpoints(subject)[0];
  const [port] = target?.ports.values() ?? [];
  const mend =
    `let the server offer plain HTTP/1.1 on a port, point targetPort there (kubectl edit ${named(subject)})` +
    (port === undefined
      ? ""
      : `; see what it speaks: kubectl -n ${namespace} port-forward service/${subject.service.metadata.name} ${port}`);
  return finding("protocol-differs", severity, subject.object, seen, mend);
}

function refusal(subject: Subject, { edge }: Facts, seen: string): Finding {
  const you = edge?.probe?.edge.yourAddress ?? undefined;
  const { loadBalancerSourceRanges: field } = subject.service.spec;
  const ranges = subject.settings.sourceRanges;
  const range = you === undefined ? "YOUR-ADDRESS/32" : `${you}/${you.includes(":") ? 128 : 32}`;
  return finding(
    "source-refuses-you",
    "warning",
    subject.object,
    `${seen}; it admits ${several(ranges)}${you === undefined ? "" : `, and you are ${you}`}`,
    patch(subject, { spec: { loadBalancerSourceRanges: [...(field.length > 0 ? field : ranges), range] } }),
  );
}

/** Where nobody could ask the listener: what the edge says of the address that it sees. */
function refusedByProbe(subject: Subject, facts: Facts, asks: readonly Ask[]): Finding[] {
  const probed = facts.edge?.probe?.services.find(({ service }) => service === subject.key);
  const isAsked = asks.some(({ answer: given }) => given !== undefined);
  if (isAsked || probed === undefined || probed.youAreAllowed) return [];
  return [refusal(subject, facts, "the edge compared the address from which you asked its API")];
}

const clause = (text: string): string => (WANTS_TLS.exec(text)?.[0] ?? text).slice(0, 100);
