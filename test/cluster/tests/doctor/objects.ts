// Kubernetes objects of the set-ups: one small web server a namespace, and a Service that leads to it, each with what a set-up changes.
import { agnhostImage } from "../../harness/images.ts";

type Fields = Readonly<Record<string, unknown>>;

export const container = (more: Fields = {}): Fields => ({
  name: "web",
  image: agnhostImage,
  args: ["netexec", "--http-port=8080"],
  ports: [{ name: "http", containerPort: 8080 }],
  readinessProbe: { httpGet: { path: "/healthz", port: 8080 }, periodSeconds: 1 },
  ...more,
});

export interface WebOptions {
  readonly replicas?: number;
  readonly container?: Fields;
  readonly pod?: Fields;
  readonly labels?: Readonly<Record<string, string>>;
}

/** `undefined` among the container's fields takes one away. */
export function web({ replicas = 1, container: own = {}, pod = {}, labels = { app: "web" } }: WebOptions = {}): Fields {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { terminationGracePeriodSeconds: 1, enableServiceLinks: false, containers: [container(own)], ...pod },
      },
    },
  };
}

export const service = (
  spec: Fields = {},
  annotations: Readonly<Record<string, string>> = {},
  metadata: Fields = {},
): Fields => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web", annotations, ...metadata },
  spec: {
    type: "LoadBalancer",
    loadBalancerClass: "postern.dev/edge",
    selector: { app: "web" },
    ports: [{ port: 80, targetPort: 8080 }],
    ...spec,
  },
});

/** Written by hand, for a Service without a selector. */
export const slice = (address: string, nodeName?: string): Fields => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name: "web-by-hand", labels: { "kubernetes.io/service-name": "web" } },
  addressType: "IPv4",
  ports: [{ name: "", port: 8080, protocol: "TCP" }],
  endpoints: [{ addresses: [address], conditions: { ready: true }, ...(nodeName === undefined ? {} : { nodeName }) }],
});

/** Runs instead of the web server, and counts as ready at once. */
export const script = (text: string): Fields => ({
  command: ["sh", "-c", text],
  args: undefined,
  readinessProbe: undefined,
});
