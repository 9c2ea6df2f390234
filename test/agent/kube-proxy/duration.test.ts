// Go's durations.
import { expect, it } from "vitest";
import { parseDuration } from "../../../agent/kube-proxy/duration.ts";

it.each<[string, number | undefined]>([
  ["30s", 30_000],
  ["1h30m", 5_400_000],
  ["24h0m0s", 86_400_000],
  ["1.5s", 1_500],
  [".5s", 500],
  ["500ms", 500],
  ["10us", 0.01],
  ["0", 0],
  ["0s", 0],
  ["", undefined],
  ["30", undefined],
  ["s", undefined],
  ["-1s", undefined],
  ["1s ", undefined],
  ["1d", undefined],
])("%j is %s ms", (text, ms) => expect(parseDuration(text)).toBe(ms));
