// Paths of the API. What is sent and answered is written once for server and clients, in src/shared/control.
import { z } from "@hono/zod-openapi";
import { clusterNameSchema } from "../../shared/control/requests.ts";
import { hostnameSchema } from "../../shared/model/snapshot.ts";

export const clusterParams = z.object({ cluster: clusterNameSchema });
export const hostnameParams = z.object({ hostname: hostnameSchema });
