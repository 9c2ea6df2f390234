// Boots a virtual machine, has it run one command, and brings back its output and exit code. To be called inside the
// namespaces of ../proxy/isolation.ts: the machine's processes end with those, whatever happened.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { EXIT_CODE, INIT, initScript, type Job, kernelArguments } from "./job.ts";
import type { Kernel } from "./kernel.ts";

/** Resolves to the command's exit code; throws what the kernel said when the command has not come to its end. */
export async function runInVm(kernel: Kernel, job: Job): Promise<number> {
  // Its memory is a file here: in isolation that is in memory.
  const folder = mkdtempSync(`${tmpdir()}/vm-`);
  writeFileSync(`${folder}/${INIT}`, initScript(job, folder, kernel.folder), { mode: 0o755 });
  const [program = "", ...first] = kernel.command;
  const child = spawn(program, [...first, ...kernelArguments(job, folder)], {
    // Its own words, then what the command says (STDOUT, STDERR).
    stdio: ["ignore", "pipe", "pipe", process.stdout, process.stderr],
    env: { ...process.env, TMPDIR: folder },
  });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      said.push(text);
      if (said.length > 100) said.shift();
    });
  }
  await once(child, "close");
  if (existsSync(`${folder}/${EXIT_CODE}`)) return Number(readFileSync(`${folder}/${EXIT_CODE}`, "utf8"));
  const last = said.join("").trimEnd().split("\n").slice(-20).join("\n");
  throw new Error(`the virtual machine ended before the command did; its last words:\n${last}`);
}
