// Whether something else does a service proxy's work on this node: two that translate the same packets undo each other's work. A
// kube-proxy, and what stands in for one, answers on its health port; so does another agent of ours during an upgrade, and says so.
import { request } from "node:http";
import { hostPort } from "../../src/shared/net/host-port.ts";
import { SERVER } from "./proxy-health.ts";

const TIMEOUT_MS = 1_000;

/** What to do about it, in words; undefined where nobody answers at `host`, or an agent does. */
export async function otherProxy({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): Promise<string | undefined> {
  const asked = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "localhost" : host;
  const server = await new Promise<string | undefined>((resolve) => {
    const asking = request({ host: asked, port, path: "/healthz", timeout: TIMEOUT_MS, agent: false }, (response) => {
      resolve(String(response.headers["server"] ?? ""));
      response.destroy();
    });
    asking
      .on("timeout", () => asking.destroy())
      .on("error", () => resolve(undefined))
      .end();
  });
  if (server === undefined || server === SERVER) return undefined;
  return (
    `a kube-proxy, or another service proxy, answers at http://${hostPort(asked, port)}/healthz: --proxy all is for nodes ` +
    "without one (k3s: --disable-kube-proxy; kubeadm: kubectl -n kube-system delete daemonset kube-proxy). If that is another " +
    "program, give the agent --proxy-health-address"
  );
}
