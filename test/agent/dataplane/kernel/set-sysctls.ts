// Run by sysctls.test.ts within a network namespace: sets real sysctls, and prints what could not be set.
import { availableParallelism } from "node:os";
import { defaultSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import { applySysctls, wantedSysctls } from "../../../../agent/dataplane/kernel/sysctls.ts";

const wanted = wantedSysctls(
  { ...defaultSettings, mode: "iptables" },
  {
    // The room for connections belongs to the machine, not to the namespace.
    ...{ maxPerCore: 0, min: 0, tcpEstablishedSeconds: 86_400, tcpCloseWaitSeconds: 3_600 },
    ...{ tcpBeLiberal: true, udpSeconds: 45, udpStreamSeconds: 150 },
  },
  ["IPv4"],
  availableParallelism(),
);
console.log(JSON.stringify(await applySysctls(wanted)));
