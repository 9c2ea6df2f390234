// Time, chance and timers as the platform has them: for the shells (src/edge/request/proxy.ts, TunnelObject), which hand them down.
import type { Effects } from "./forward/transport.ts";

export const effects: Effects = {
  now: () => Date.now(),
  random: () => Math.random(),
  later: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};
