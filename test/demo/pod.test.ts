// The demo pod as a process, through real sockets.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { WebSocket } from "ws";

const url = "http://127.1.9.9:18080";
let pod: ChildProcess;

beforeEach(async () => {
  const args = ["--name", "web-9", "--node", "node-z", "--address", "127.1.9.9", "--port", "18080", "--port", "18081"];
  pod = spawn(process.execPath, ["src/demo/pod.ts", ...args], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  await once(pod, "message");
});
afterEach(async () => {
  if (pod.exitCode !== null || pod.signalCode !== null) return;
  pod.kill("SIGKILL");
  await once(pod, "exit");
});

const text = async (path: string, init?: RequestInit) => (await fetch(url + path, init)).text();

describe("answers", () => {
  test("say who they are", async () => {
    expect(await text("/any?x=1")).toBe("web-9 on node-z: GET /any?x=1\n");
    expect(await (await fetch("http://127.1.9.9:18081/")).text()).toBe("web-9 on node-z: GET /\n");
    const response = await fetch(`${url}/status/418`);
    expect([response.status, response.headers.get("x-pod")]).toEqual([418, "web-9"]);
    expect(JSON.parse(await text("/headers", { headers: { "x-a": "1" } }))).toMatchObject({ headers: { "x-a": "1" } });
  });

  test("bytes go out, and are counted and hashed when they come in", async () => {
    const body = Buffer.from(await (await fetch(`${url}/bytes?n=200000`)).arrayBuffer());
    expect([body.length, body[0], body[255], body[256], body[65_537]]).toEqual([200_000, 0, 255, 0, 1]);
    const upload = JSON.parse(await text("/upload", { method: "POST", body }));
    expect(upload).toEqual({ pod: "web-9", bytes: 200_000, sha256: createHash("sha256").update(body).digest("hex") });
  });

  test("WebSockets echo, with the first subprotocol offered", async () => {
    const socket = new WebSocket(url.replace("http", "ws") + "/ws", ["chat", "other"]);
    await once(socket, "open");
    socket.send("hello");
    expect(String((await once(socket, "message"))[0])).toBe("hello");
    expect(socket.protocol).toBe("chat");
    socket.close();
  });
});

test("SIGTERM: it finishes what it accepted, ends streams cleanly, takes nothing new, and exits", async () => {
  const slow = fetch(`${url}/slow?ms=600`).then((response) => response.text());
  const stream = await fetch(`${url}/stream?ms=50`);
  pod.kill("SIGTERM");
  expect(await stream.text()).toMatch(/^id: 1\n/);
  await expect(fetch(url)).rejects.toThrow();
  expect(await slow).toContain("web-9 on node-z");
  expect(await once(pod, "exit")).toEqual([0, null]);
});
