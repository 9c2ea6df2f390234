// Reads and writes the file of contexts. It holds tokens, so only its owner may read it.
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { parse, stringify } from "yaml";
import { exitCodes, Failed } from "../failed.ts";
import { cannotBeWritten, replaceOwn } from "../own-file.ts";
import { type Config, configSchema, emptyConfig } from "./config.ts";

/** Nobody has that many edges. */
const SIZE_MAX = 1024 * 1024;

/** $POSTERN_CONFIG, else postern/config.yaml where the XDG base directories say, which is ~/.config. */
export function configFile(environment: NodeJS.ProcessEnv): string {
  const { POSTERN_CONFIG: own = "", XDG_CONFIG_HOME: xdg = "" } = environment;
  return own === "" ? join(xdg.startsWith("/") ? xdg : join(homedir(), ".config"), "postern", "config.yaml") : own;
}

/** Empty where there is no file. */
export function readConfig(file: string): Config {
  let text: string;
  try {
    if (statSync(file).size > SIZE_MAX)
      throw new Failed(`${file} is larger than ${SIZE_MAX} bytes`, { next: `look into ${file}` });
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return emptyConfig;
    throw error instanceof Failed ? error : new Failed(`${file} cannot be read: ${(error as Error).message}`);
  }
  let written: unknown;
  try {
    written = parse(text) ?? {};
  } catch {
    // The parser's words quote the text, which holds tokens.
    throw new Failed(`${file} is not YAML`, { next: `mend it, or remove it and log in again` });
  }
  const parsed = configSchema.safeParse(written);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Failed(`${file}: ${issue?.path.join(".")}: ${issue?.message}`, { next: "mend it, or log in again" });
}

export function writeConfig(file: string, config: Config): void {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw cannotBeWritten(file, error);
  }
  replaceOwn(file, stringify(config), exitCodes.failed);
}
