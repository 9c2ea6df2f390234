// Every name of postern.dev that stands in a Kubernetes object: annotations, labels, the class. docs/services.md lists
// them for owners. Names of Kubernetes itself stay where they are read.

/** What all names of ours begin with, those of conditions included. */
export const DOMAIN = "postern.dev/";

/** `spec.loadBalancerClass` of a Service that is Postern's. */
export const CLASS = "postern.dev/edge";

export const annotation = {
  /** Service: how the edge reaches it, `tunnel` or `direct`. */
  transport: "postern.dev/transport",
  /** Service: how the edge orders nodes. */
  algorithm: "postern.dev/algorithm",
  /** Service: how a node orders endpoints. */
  endpointAlgorithm: "postern.dev/endpoint-algorithm",
  /** Service: host names beside the default one. */
  hostname: "postern.dev/hostname",
  /** Service: `"true"` exposes one that is headless or an ExternalName. */
  expose: "postern.dev/expose",
  /** Service: the ports that it offers where it lists none of its own. */
  ports: "postern.dev/ports",
  /** Node: where the edge reaches its NodePorts. */
  directAddress: "postern.dev/direct-address",
  /** Node: its share of requests, clients or endpoints. */
  weight: "postern.dev/weight",
} as const;

export const label = {
  /** EndpointSlice: `"true"` makes `npm start` run the pods that it lists. */
  demoPods: "postern.dev/demo-pods",
} as const;
