import { randomBytes } from "node:crypto";

/** 256 bits. */
export const randomToken = (): string => randomBytes(32).toString("base64url");
