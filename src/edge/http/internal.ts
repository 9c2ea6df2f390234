// Headers by which the edge's own parts talk to each other. The Worker takes them off; they are neither believed from
// clients nor from backends.

/** On answers of a TunnelObject: the generation of its table. Not on each one: TunnelObject says when. */
export const GENERATION_HEADER = "x-postern-generation";
/** On an answer that never reached a node, with why: the Worker may try another cluster, or refresh its tables. */
export const UNSENT_HEADER = "x-postern-unsent";
/** On a TunnelObject's answer while somebody reads the access log: which nodes were asked, a LogTry[] as JSON in ASCII. */
export const TRIES_HEADER = "x-postern-tries";
