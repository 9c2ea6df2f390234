// The machine's addresses: over a real kernel, and while an interface comes and goes.
import { execFileSync, spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { interfaceAddresses } from "../../../../agent/dataplane/kernel/interface-addresses.ts";

describe("the addresses of interfaces", () => {
  it("are read at most every half second, without those of ipvs' device", () => {
    let [now, reads] = [0, 0];
    const addresses = interfaceAddresses({
      now: () => now,
      exists: () => true,
      read: () => ({ lo: [{ address: "127.0.0.1" }], "kube-ipvs0": [{ address: `10.96.0.${++reads}` }] }),
    });
    for (const at of [0, 499, 500, 999]) {
      now = at;
      expect(addresses()).toEqual(["127.0.0.1"]);
    }
    expect(reads).toBe(2);
  });

  it("of one without carrier stay until it is gone, or has others", () => {
    let now = 0;
    let eth0: { address: string }[] | undefined = [{ address: "192.168.1.10" }];
    let exists = true;
    const addresses = interfaceAddresses({ now: () => (now += 1_000), exists: () => exists, read: () => ({ eth0 }) });
    expect(addresses()).toEqual(["192.168.1.10"]);
    eth0 = [{ address: "192.168.1.11" }];
    expect(addresses()).toEqual(["192.168.1.11"]);
    const gone = interfaceAddresses({
      now: () => (now += 1_000),
      exists: () => exists,
      read: () => (eth0 === undefined ? {} : { eth0 }),
    });
    expect(gone()).toEqual(["192.168.1.11"]);
    eth0 = undefined;
    expect(gone()).toEqual(["192.168.1.11"]);
    exists = false;
    expect(gone()).toEqual([]);
  });

  const namespaces = spawnSync("unshare", ["--net", "true"]).status === 0;
  it.skipIf(!namespaces)("of one without carrier stay, seen in the kernel", () => {
    const program = `
      import { execSync } from "node:child_process";
      import { interfaceAddresses } from ${JSON.stringify(new URL("../../../../agent/dataplane/kernel/interface-addresses.ts", import.meta.url).pathname)};
      let now = 0;
      const addresses = interfaceAddresses({ now: () => (now += 1_000) });
      const said = [];
      const look = (command) => { execSync(command); said.push(addresses().filter((each) => each.startsWith("192.0.2.")).join()); };
      execSync("ip link add one type veth peer name two && ip link set two up && ip link set one up");
      look("ip addr add 192.0.2.1/24 dev one");
      look("ip link set two down");
      look("ip link delete one");
      console.log(JSON.stringify(said));`;
    const script = `mount -t sysfs sysfs /sys && exec "$0" --input-type=module-typescript -e "$1"`;
    const output = execFileSync("unshare", ["--net", "--mount", "sh", "-c", script, process.execPath, program], {
      encoding: "utf8",
    });
    expect(JSON.parse(output)).toEqual(["192.0.2.1", "192.0.2.1", ""]);
  });
});
