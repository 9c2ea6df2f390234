// The benchmark's network: one client, one node, and one place that is every endpoint. Plain data, no effects.
//   client (a pod) ── node (where the program under test runs) ── endpoints, API server
export const client = { netns: "client", address: "10.255.0.2", gateway: "10.255.0.1" } as const;
export const node = { netns: "node", name: "node-0", address: "10.92.0.1" } as const;
export const endpoints = { netns: "endpoints", address: "10.92.0.2" } as const;

/** All pods, the client among them: a program that knows pods by their addresses masquerades nothing here. */
export const podRange = "10.128.0.0/9";
/** Those of these that Services list; one listener answers on all of them. */
export const endpointRanges = ["10.128.0.0/10", "10.192.0.0/11"] as const;
export const serviceRange = "10.96.0.0/12";

export const SERVICE_PORT = 80;
export const POD_PORT = 8080;
export const API_PORT = 6443;
export const apiServer = `http://${endpoints.address}:${API_PORT}`;

/** ClusterIP of the Service with this number. */
export const clusterIp = (service: number): string => plus("10.96.1.0", service);
/** Where the endpoint with this number is, counted over all Services. */
export const endpointAddress = (endpoint: number): string => plus("10.128.0.1", endpoint);
/** Where endpoints move to: addresses that no Service lists at first. */
export const spareAddress = (number: number): string => plus("10.192.0.1", number);

function plus(base: string, count: number): string {
  const value = base.split(".").reduce((sum, part) => sum * 256 + Number(part), 0) + count;
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
}
