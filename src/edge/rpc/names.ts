// What the Durable Objects are called, in one place: another name is another object, with nothing in it. A ClusterObject has
// its cluster's name.

/** The one GatewayObject of a deployment. */
export const GATEWAY_NAME = "gateway";

/** The TunnelObject of one shard of a cluster. */
export const tunnelName = (cluster: string, shard: number): string => `${cluster}/${shard}`;
