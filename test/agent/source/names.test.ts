// Names: what is looked up, kept and told.
import { afterEach, describe, expect, it, vi } from "vitest";
import { Names, REFRESH_MS } from "../../../agent/source/names.ts";
import { LogOnce } from "../../../agent/log-once.ts";

describe("names", () => {
  afterEach(() => vi.useRealTimers());

  const rig = () => {
    const answers = new Map<string, readonly string[] | Error>();
    const told: string[] = [];
    const said: string[] = [];
    const logOnce = new LogOnce((text) => said.push(text));
    const names = new Names(
      () => told.push(JSON.stringify([...names.addresses])),
      (failures) =>
        logOnce.warn(
          "names",
          failures.map(({ name, why }) => `${name}: ${why}`),
        ),
      async (name) => {
        const answer = answers.get(name) ?? new Error("not found");
        if (answer instanceof Error) throw answer;
        return answer;
      },
    );
    return { answers, told, said, names };
  };

  it("delivers addresses sorted, each once, and again only when they change", async () => {
    vi.useFakeTimers();
    const { answers, told, names } = rig();
    answers.set("nas.lan", ["192.168.1.9", "192.168.1.10", "192.168.1.9"]);
    names.watch(["nas.lan"]);
    await vi.advanceTimersByTimeAsync(0);
    answers.set("nas.lan", ["192.168.1.10", "192.168.1.9"]);
    await vi.advanceTimersByTimeAsync(REFRESH_MS);
    answers.set("nas.lan", ["192.168.1.11"]);
    await vi.advanceTimersByTimeAsync(REFRESH_MS);
    expect(told).toEqual(['[["nas.lan",["192.168.1.10","192.168.1.9"]]]', '[["nas.lan",["192.168.1.11"]]]']);
    names.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("keeps the last addresses of a name that cannot be looked up, and says why", async () => {
    vi.useFakeTimers();
    const { answers, said, names } = rig();
    answers.set("nas.lan", ["192.168.1.9"]);
    names.watch(["nas.lan"]);
    await vi.advanceTimersByTimeAsync(0);
    answers.set("nas.lan", new Error("server failed"));
    await vi.advanceTimersByTimeAsync(REFRESH_MS);
    expect(names.addresses.get("nas.lan")).toEqual(["192.168.1.9"]);
    expect(said).toEqual(["nas.lan: server failed"]);
    names.stop();
  });

  it("says once that a name fails, and again where it failed, was well, and fails again", async () => {
    vi.useFakeTimers();
    const { answers, said, names } = rig();
    const round = async (answer: readonly string[] | Error) => {
      answers.set("nas.lan", answer);
      await vi.advanceTimersByTimeAsync(REFRESH_MS);
    };
    names.watch(["nas.lan"]);
    await round(new Error("not found"));
    await round(new Error("not found"));
    expect(said).toHaveLength(1);
    await round(["192.168.1.9"]);
    await round(new Error("not found"));
    expect(said).toHaveLength(2);
    // Watched no more, then again.
    names.watch([]);
    await vi.advanceTimersByTimeAsync(0);
    names.watch(["nas.lan"]);
    await vi.advanceTimersByTimeAsync(0);
    expect(said).toHaveLength(3);
    names.stop();
  });

  it("forgets names that are no longer watched, and asks for none", async () => {
    vi.useFakeTimers();
    const { answers, names } = rig();
    answers.set("nas.lan", ["192.168.1.9"]);
    names.watch(["nas.lan"]);
    await vi.advanceTimersByTimeAsync(0);
    names.watch([]);
    await vi.advanceTimersByTimeAsync(0);
    expect(names.addresses.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
