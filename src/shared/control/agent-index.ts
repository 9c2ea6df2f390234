// Which bundle of the agent an edge hands out: the index that lies beside the files, and where both are among the Worker's static
// assets. The same on Cloudflare and on an edge of one's own.
import { z } from "zod";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

export const agentIndexSchema = z.object({
  /** The repository's, for people. */
  version: z.string(),
  /** SHA-256 of the agent's bundle, in hex. */
  main: sha256,
  /** Of the program that kubelet runs as its probe. */
  probe: sha256,
});
export type AgentIndex = Readonly<z.infer<typeof agentIndexSchema>>;

/** Of the admin host and of the assets alike. */
export const AGENT_PATH = "/agent/";
export const agentIndexPath = `${AGENT_PATH}index.json`;
export const agentFilePath = (hash: string): string => `${AGENT_PATH}${hash}.mjs`;

/** A path below AGENT_PATH that names a file by its content. */
export const AGENT_FILE = /^([0-9a-f]{64})\.mjs$/;
