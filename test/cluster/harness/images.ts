// The images pause, agnhost and node, made by hand under their upstream names, since no registry is asked. Owns the folder
// `images` beside the binaries in the cache: an archive is made once and survives.
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { run } from "./command.ts";

export const pauseImage = "registry.k8s.io/pause:3.10.1";
export const agnhostImage = "registry.k8s.io/e2e-test-images/agnhost:2.56";
/** Node.js and what it loads: the agent's pods need no more of it, and no shell. */
export const nodeImage = "docker.io/library/node:24-slim";

/** What a few of Kubernetes' tests call for by name and use for no more than its shell and conntrack: the same as agnhost. */
export const sameAsAgnhost = [
  "registry.k8s.io/e2e-test-images/busybox:1.37.0-1",
  "registry.k8s.io/build-image/distroless-iptables:v0.7.14",
];

/** Real ones, with the libraries that they load: busybox' own are too small for Kubernetes' tests. */
const tools = ["dash", "curl", "wget", "nc.openbsd", "dig", "conntrack", "timeout"];

export interface Image {
  readonly name: string;
  /** Path of an OCI archive that carries the name. */
  readonly archive: string;
}

export async function ensureImages(binaries: string, say: (line: string) => void): Promise<Image[]> {
  const folder = `${binaries}/images`;
  mkdirSync(folder, { recursive: true });
  const pause = `${folder}/pause.tar`;
  const agnhost = `${folder}/agnhost.tar`;
  const node = `${folder}/node-${process.version}.tar`;
  const images = [
    { name: pauseImage, archive: pause },
    { name: agnhostImage, archive: agnhost },
    { name: nodeImage, archive: node },
  ];
  if (images.every(({ archive }) => existsSync(archive))) return images;
  say("making the images pause, agnhost and node");
  await makeArchive(node, nodeImage, ["/bin/node"], async (root) => {
    for (const name of ["bin", "tmp", "etc", "proc", "sys", "dev"]) mkdirSync(`${root}/${name}`);
    // That of the npm package, as `npm run image` takes it.
    copyFileSync(process.execPath, `${root}/bin/node`);
    copyInto(root, await librariesOf(process.execPath));
  });
  const busybox = await pathOf("busybox");
  await makeArchive(pause, pauseImage, ["/busybox", "sleep", "2147483647"], (root) => {
    copyFileSync(busybox, `${root}/busybox`);
  });
  const files = await filesOf(tools);
  const applets = (await run([busybox, "--list"])).split("\n").filter((name) => name !== "");
  await makeArchive(agnhost, agnhostImage, ["/agnhost"], (root) => {
    for (const name of ["bin", "tmp", "etc", "root", "proc", "sys", "dev"]) mkdirSync(`${root}/${name}`);
    chmodSync(`${root}/tmp`, 0o1777);
    writeFileSync(`${root}/etc/passwd`, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
    writeFileSync(`${root}/etc/group`, "root:x:0:\nnogroup:x:65534:\n");
    copyFileSync(`${binaries}/agnhost`, `${root}/agnhost`);
    copyFileSync(busybox, `${root}/bin/busybox`);
    copyInto(root, files);
    symlinkSync("dash", `${root}/bin/sh`);
    symlinkSync("nc.openbsd", `${root}/bin/nc`);
    for (const applet of applets) {
      if (!existsSync(`${root}/bin/${applet}`)) symlinkSync("busybox", `${root}/bin/${applet}`);
    }
  });
  return images;
}

/** Path in the image => file of this machine: the programs in /bin, their libraries where the loader looks for them. */
async function filesOf(programs: readonly string[]): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const program of programs) {
    const path = await pathOf(program);
    files.set(`/bin/${program}`, path);
    for (const [library, content] of await librariesOf(path)) files.set(library, content);
  }
  return files;
}

async function librariesOf(path: string): Promise<Map<string, string>> {
  // "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)" and "/lib64/ld-linux-x86-64.so.2 (0x…)"
  const found = (await run(["ldd", path])).matchAll(/\/\S+/g);
  return new Map([...found].map(([library]) => [library, library]));
}

function copyInto(root: string, files: ReadonlyMap<string, string>): void {
  for (const [path, content] of files) {
    mkdirSync(dirname(root + path), { recursive: true });
    copyFileSync(content, root + path);
  }
}

const pathOf = async (program: string): Promise<string> => (await run(["sh", "-c", `command -v ${program}`])).trim();

/** An OCI archive of one uncompressed layer, whose digest is then its diff_id too. `entrypoint` runs as root. */
async function makeArchive(
  archive: string,
  name: string,
  entrypoint: string[],
  fill: (root: string) => void | Promise<void>,
) {
  const partial = mkdtempSync(`${archive}-`);
  try {
    const root = `${partial}/root`;
    const layout = `${partial}/layout`;
    mkdirSync(root);
    mkdirSync(`${layout}/blobs/sha256`, { recursive: true });
    await fill(root);
    const plain = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--mtime=@0"];
    await run(["tar", ...plain, "-C", root, "-cf", `${partial}/layer`, "."]);
    const layer = storeBlob(layout, `${partial}/layer`, "application/vnd.oci.image.layer.v1.tar");
    const storeJson = (value: unknown, mediaType: string) => {
      writeFileSync(`${partial}/json`, JSON.stringify(value));
      return storeBlob(layout, `${partial}/json`, mediaType);
    };
    const env = ["PATH=/bin:/usr/bin"];
    const image = {
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      os: "linux",
      config: { Entrypoint: entrypoint, Env: env, ...(name === agnhostImage ? { Cmd: ["pause"] } : {}) },
      rootfs: { type: "layers", diff_ids: [layer.digest] },
    };
    const config = storeJson(image, "application/vnd.oci.image.config.v1+json");
    const type = "application/vnd.oci.image.manifest.v1+json";
    const manifest = storeJson({ schemaVersion: 2, mediaType: type, config, layers: [layer] }, type);
    const annotations = { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name };
    writeFileSync(`${layout}/oci-layout`, JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    writeFileSync(
      `${layout}/index.json`,
      JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
    );
    await run(["tar", "-C", layout, "-cf", `${partial}/archive`, "."]);
    renameSync(`${partial}/archive`, archive);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** Moves the file to where its digest says. */
function storeBlob(layout: string, file: string, mediaType: string) {
  const content = readFileSync(file);
  const digest = createHash("sha256").update(content).digest("hex");
  renameSync(file, `${layout}/blobs/sha256/${digest}`);
  return { mediaType, digest: `sha256:${digest}`, size: content.length };
}
