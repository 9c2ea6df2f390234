// What this isolate knows, as all of it shares: tenants' requests are served by it, and the control API says how fresh it is.
import { effects } from "../effects.ts";
import { AccessLog } from "./access-log.ts";
import { Tables } from "./tables.ts";

export const tables = new Tables(effects);
export const accessLog = new AccessLog(effects);
