// When a request is sent a second time: the one list of rules for the listener proxy (src/host), the edge (the Worker and
// its TunnelObject) and the agent together. A *sighting* is a time that a backend may have seen a request.
//
// 1. A request that no backend can have seen goes on to the next endpoint or node, whatever its method, as long as its
//    body is still whole: UNSENT_MAX tries by the edge, and as many by the agent of each node. The listener proxy counts
//    none: it waits for its edge for a limited time.
// 2. One that a backend may have seen is repeated only if its method is idempotent (RFC 9110 §9.2.2) or it carries an
//    Idempotency-Key, its body can be sent from the beginning again, and no part of an answer has been passed on.
// 3. Who saw the failure repeats, once, and nobody repeats for a failure that another has repeated for:
//    - an endpoint broke: the agent, on another endpoint (two sightings). The edge takes the agent's "broke" as final.
//    - a node was lost with the request (its tunnel broke or fell silent): the edge, on another node. The agent of that node
//      may again cause two sightings: an endpoint that breaks there is another failure than the loss of the first node.
//    - by transport direct a fetch failed, and no agent is there that could tell more: the edge, on the next node, and on the
//      one after it (three sightings: with two of three nodes down the third is still found). A GET or HEAD that is without
//      an answer for a while is sent to one more node beside the first, once, as one of the three. What is left of the three
//      may be spent on another cluster that serves the same hostname by direct; one that serves it by tunnel gets it once.
//      Below that, and not to be switched off, workerd's own fetch sends an idempotent request without a body again where the
//      connection that broke had been kept from an earlier request, and so on until it breaks on a new one (seen with workerd of
//      2026-11-17). So PUT, DELETE, OPTIONS and TRACE without a body go by tunnel also where a Service asks for direct. GET and
//      HEAD, which change nothing (RFC 9110 §9.2.1), do not: a node sees one more of them for each connection kept to it.
//    - the edge's own process was lost (edges of one's own only): the listener proxy, and says so: that repeat is the last
//      one, and neither the edge nor an agent repeats it.
// 4. An answer that is not HTTP, that is too large, or that took too long (504) is an answer: it is never repeated.
//
// So what backends do by themselves is seen twice at most by tunnel, and three times by direct, GET and HEAD there excepted;
// whatever is lost beside them at the same moment, SIGHTINGS_MAX.
// A retry budget (src/edge/forward/retry-budget.ts) bounds the sum.

/** Times that backends may see one request: two by the agent, on each of two nodes, and one more by the listener proxy. */
export const SIGHTINGS_MAX = 5;
/** Sightings that the agent may cause for one stream, where the edge allows it: one, and one repeat. */
export const AGENT_SIGHTINGS = 2;
/** Nodes to which the edge may send a request that may have been seen: the first, and one repeat. */
export const EDGE_SIGHTINGS = 2;
/** Nodes to which the edge may send such a request by transport direct, hedges and other clusters included. */
export const DIRECT_SIGHTINGS = 3;
/** Tries of a request that no backend saw: by the edge, and by the agent of each node. */
export const UNSENT_MAX = 5;

/** RFC 9110 §9.2.2: sending it twice is the same as sending it once. */
export function isIdempotentMethod(method: string): boolean {
  switch (method) {
    case "GET":
    case "HEAD":
    case "OPTIONS":
    case "TRACE":
    case "PUT":
    case "DELETE":
      return true;
    default:
      return false;
  }
}
