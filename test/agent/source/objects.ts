// Kubernetes objects as a user writes them, for tests: short, valid, changed by overriding parts.
export interface Written {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

export const service = (name: string, spec: object = {}, metadata: object = {}): Written => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, ...metadata },
  spec: {
    type: "LoadBalancer",
    loadBalancerClass: "postern.dev/edge",
    clusterIP: "10.96.0.1",
    ports: [{ port: 80, targetPort: 8080 }],
    ...spec,
  },
});

export const slice = (
  serviceName: string,
  endpoints: object[],
  parts: object = {},
  name = `${serviceName}-1`,
): Written => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name, labels: { "kubernetes.io/service-name": serviceName } },
  addressType: "IPv4",
  endpoints,
  ports: [{ name: "", port: 8080 }],
  ...parts,
});

export const endpoint = (address: string, nodeName?: string, conditions: object = {}, parts: object = {}): object => ({
  addresses: [address],
  ...(nodeName === undefined ? {} : { nodeName }),
  conditions,
  ...parts,
});

export const serviceCIDR = (name: string, cidrs: string[], metadata: object = {}): Written => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "ServiceCIDR",
  metadata: { name, ...metadata },
  spec: { cidrs },
});

export const node = (name: string, metadata: object = {}, parts: object = {}): Written => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name, ...metadata },
  ...parts,
});
