// Run by create.test.ts within a network namespace.
import { cleanupLeftovers } from "../../../../agent/dataplane/kernel/create.ts";
import { run } from "../../../../agent/dataplane/kernel/run.ts";
import { defaultSettings } from "../../../../agent/dataplane/kernel/settings.ts";

const effects = { run, localAddresses: () => [] };
console.log(JSON.stringify(await cleanupLeftovers(defaultSettings, effects, ["kube-proxy's nftables"])));
