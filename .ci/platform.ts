// For which processor an image is built: what each is called by whom, and which one a program is for. Pure.

export interface Platform {
  /** As registries name it. */
  readonly name: "linux/amd64" | "linux/arm64";
  /** As Debian and the OCI name it. */
  readonly arch: "amd64" | "arm64";
  /** As Node.js names it. */
  readonly node: "x64" | "arm64";
}

const platforms: readonly Platform[] = [
  { name: "linux/amd64", arch: "amd64", node: "x64" },
  { name: "linux/arm64", arch: "arm64", node: "arm64" },
];

export const platformNames: readonly string[] = platforms.map(({ name }) => name);

/** `text`: undefined for that of the machine, whose processor Node.js calls `machine`. Undefined: there is none such. */
export const platformOf = (text: string | undefined, machine: string): Platform | undefined =>
  platforms.find(({ name, node }) => (text === undefined ? node === machine : name === text));

/** e_machine of an ELF header, by which a kernel knows whether it can run the program. */
const MACHINES: Readonly<Record<number, Platform["arch"]>> = { 0x3e: "amd64", 0xb7: "arm64" };

/** Of a program's first 20 bytes; undefined: it is none, or for another processor. */
export function programArch(head: Uint8Array): Platform["arch"] | undefined {
  const isElf = head.length >= 20 && Buffer.from(head.subarray(0, 4)).toString("latin1") === "\x7fELF";
  return isElf ? MACHINES[Buffer.from(head).readUInt16LE(18)] : undefined;
}
