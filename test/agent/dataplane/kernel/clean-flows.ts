// Run by conntrack.test.ts within a network namespace: one clean-up with the real program.
import { cleanFlows } from "../../../../agent/dataplane/kernel/conntrack.ts";
import { run } from "../../../../agent/dataplane/kernel/run.ts";
import { dnsPort } from "../kernel-plans.ts";

const ports = [
  dnsPort({ nodePort: 30053, serving: ["10.1.0.1 53"] }),
  dnsPort({ family: "IPv6", clusterIP: "fd00:96::a", serving: ["fd00:1::1 53"] }),
];
console.log(JSON.stringify(await cleanFlows(run, ["IPv4", "IPv6"], [], ports, ["192.168.1.10"])));
