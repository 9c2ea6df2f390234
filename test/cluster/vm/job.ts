// What is run in a virtual machine, and how the machine is told: the kernel's arguments, and the script that is its first
// process. Pure.

export interface Job {
  readonly command: readonly string[];
  /** Working folder of the command. */
  readonly cwd: string;
  /** Its environment, besides PATH and HOME. */
  readonly env: Readonly<Record<string, string>>;
  /** Folders of the host that the command writes to. All else of the host is seen as it is; what is written there is lost. */
  readonly shared: readonly string[];
  /** Kernel modules that are loaded before; others come when the kernel asks for them. */
  readonly modules: readonly string[];
  readonly memoryMB: number;
  /** A tap device of the host, which is UPLINK in the machine. Absent: the machine has no network but its own. */
  readonly tap?: string;
}

/** File descriptors of the kernel's process that the command's output goes to. */
export const STDOUT = 3;
export const STDERR = 4;
/** The machine's end of the tap. */
export const UPLINK = "vec0";
/** Names in the folder of the job. */
export const INIT = "init";
export const EXIT_CODE = "exit-code";

/** `folder`: where the script is, as the host sees it. The host's root is the machine's; the script lays a layer over it. */
export function kernelArguments(job: Job, folder: string): string[] {
  return [
    `mem=${job.memoryMB}M`,
    ...["root=none", "rootfstype=hostfs", "rootflags=/", "ro", `init=${folder}/${INIT}`],
    // Its own words go to its standard output, the command's to the two serial lines; nobody types.
    ...["con=null", "con0=null,fd:1", `ssl0=null,fd:${STDOUT}`, `ssl1=null,fd:${STDERR}`, "quiet"],
    ...(job.tap === undefined ? [] : [`${UPLINK}:transport=tap,ifname=${job.tap},depth=128,gro=0`]),
  ];
}

/**
 * The first process: makes the root writable, runs the command, leaves its exit code in `folder` and switches the machine off.
 * `kernelFolder` has the modules. Only the legacy flavour of iptables works: this kernel's nftables knows neither ip nor ip6.
 */
export function initScript(job: Job, folder: string, kernelFolder: string): string {
  const iptables = ["iptables", "ip6tables"].flatMap((tool) => ["", "-save", "-restore"].map((part) => [tool, part]));
  return [
    "#!/bin/bash",
    "export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root",
    "mount -t proc proc /proc",
    "mount -t tmpfs tmpfs /run",
    "mkdir /run/upper /run/work /run/root",
    `modprobe -d ${quoted(kernelFolder)} overlay`,
    "mount -t overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/work overlay /run/root",
    "cd /run/root",
    "mount -t proc proc proc",
    "mount -t sysfs sysfs sys",
    "mount -t devtmpfs devtmpfs dev",
    "mkdir -p dev/pts dev/shm usr/lib/modules",
    "mount -t devpts devpts dev/pts",
    "mount -t tmpfs tmpfs dev/shm",
    "mount -t tmpfs tmpfs run",
    "ln -sfn /proc/self/fd dev/fd",
    ...[...job.shared, folder].flatMap((path) => [
      `mkdir -p ${quoted(`.${path}`)}`,
      `mount -t hostfs -o ${quoted(path)} none ${quoted(`.${path}`)}`,
    ]),
    `mount --bind ${quoted(`${kernelFolder}/lib/modules`)} usr/lib/modules`,
    ...iptables.map(([tool, part]) => `ln -sfn /usr/sbin/${tool}-legacy${part} etc/alternatives/${tool}${part}`),
    "mkdir run/old",
    "pivot_root . run/old",
    "umount -l /run/old",
    "ip link set lo up",
    ...job.modules.map((module) => `modprobe ${module}`),
    "stty -F /dev/ttyS0 raw -echo",
    "stty -F /dev/ttyS1 raw -echo",
    `cd ${quoted(job.cwd)}`,
    `env ${Object.entries(job.env)
      .map(([name, value]) => quoted(`${name}=${value}`))
      .join(" ")} ${job.command.map(quoted).join(" ")} </dev/null >/dev/ttyS0 2>/dev/ttyS1`,
    `echo $? > ${quoted(`${folder}/${EXIT_CODE}`)}`,
    // They wait until all has been written.
    "stty -F /dev/ttyS0 raw",
    "stty -F /dev/ttyS1 raw",
    "sync",
    "echo o > /proc/sysrq-trigger",
    // Without its first process the kernel would panic before it is switched off.
    "sleep 60",
    "",
  ].join("\n");
}

export const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** What programs that forward Services ask for and the kernel does not load by itself. */
export const modulesOfProxies: readonly string[] = [
  "ipv6",
  "ip_vs",
  ...["rr", "wrr", "lc", "wlc", "dh", "sh", "sed", "nq", "mh"].map((scheduler) => `ip_vs_${scheduler}`),
  "nf_conntrack",
  // Otherwise it brings a device of its own.
  "dummy numdummies=0",
];
