// Whether something else does a service proxy's work on this node: two that translate the same packets undo each other's work. A
// kube-proxy, and what stands in for one, answers on its health port; so does another agent of ours during an upgrade, and says so.
import { request } from "node:http";
import { hostPort } from "../../src/shared/net/host-port.ts";
import { SERVER } from "./proxy-health.ts";

const TIMEOUT_MS = 1_000;
/** A busy machine may be slow, and to take a kube-proxy's rules away is worse than to wait. */
const PATIENT_MS = 10_000;

interface At {
  readonly host: string;
  readonly port: number;
}

/** What to do about it, in words; undefined where nobody answers at `host`, or an agent does. */
export async function otherProxy({ host, port }: At): Promise<string | undefined> {
  const asked = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "localhost" : host;
  if ((await whoAnswers({ host: asked, port }, TIMEOUT_MS)) !== "another") return undefined;
  return (
    `a kube-proxy, or another service proxy, answers at http://${hostPort(asked, port)}/healthz: --proxy all is for nodes ` +
    "without one (k3s: --disable-kube-proxy; kubeadm: kubectl -n kube-system delete daemonset kube-proxy). If that is another " +
    "program, give the agent --proxy-health-address"
  );
}

/** Whether there is one, or may be one: somebody who listens there and says nothing. */
export async function mayRun(at: At, withinMs = PATIENT_MS): Promise<boolean> {
  const who = await whoAnswers(at, withinMs);
  return who === "another" || who === "silence";
}

/** "nobody": no program listens there. */
function whoAnswers({ host, port }: At, timeout: number): Promise<"an agent" | "another" | "silence" | "nobody"> {
  return new Promise((resolve) => {
    const asking = request({ host, port, path: "/healthz", timeout, agent: false }, (response) => {
      resolve(response.headers["server"] === SERVER ? "an agent" : "another");
      response.destroy();
    });
    asking
      .on("timeout", () => asking.destroy(new Error("silence")))
      .on("error", ({ message }) => resolve(message === "silence" ? "silence" : "nobody"))
      .end();
  });
}
