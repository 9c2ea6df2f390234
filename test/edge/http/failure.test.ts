import { describe, expect, test } from "vitest";
import { failure, type FailureReason } from "../../../src/edge/http/failure.ts";

const asked = (accept: string, method = "GET", more: Record<string, string> = {}) => ({
  method,
  headers: new Headers({ accept, ...more }),
});

describe.each<[FailureReason, number]>([
  ["no-such-listener", 404],
  ["source-refused", 403],
  ["body-too-large", 413],
  ["endpoint-broke", 502],
  ["bad-gateway-answer", 502],
  ["no-endpoints", 503],
  ["no-eligible-nodes", 503],
  ["no-available-node", 503],
  ["not-programmed", 503],
  ["overloaded", 503],
  ["timeout", 504],
])("%s", (reason, status) => {
  test(`is ${status}, machine-readable, never cached`, async () => {
    const response = failure(reason, asked("*/*"), { requestId: "id-1" });
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.get("x-postern-reason")).toBe(reason);
    expect(response.headers.get("x-postern-request-id")).toBe("id-1");
    expect(response.headers.has("retry-after")).toBe(status === 503);
    expect(await response.json()).toMatchObject({
      status,
      reason,
      requestId: "id-1",
      type: expect.stringMatching(/^tag:/),
      title: expect.stringMatching(/./),
      detail: expect.stringMatching(/./),
      remedy: expect.stringMatching(/./),
    });
  });

  test("is a page for browsers, with meaning and remedy", async () => {
    const response = failure(reason, asked("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), { requestId: "id-2" });
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
    const body = await response.text();
    for (const part of ["<!doctype html>", reason, "id-2", "Is this your site?", String(status)])
      expect(body).toContain(part);
  });

  test("has no body for HEAD, but all else", () => {
    const response = failure(reason, asked("*/*", "HEAD"));
    expect(response.body).toBeNull();
    expect(response.status).toBe(status);
    expect(response.headers.get("x-postern-reason")).toBe(reason);
  });
});

test("what comes from outside is escaped in the page, and stays text in JSON", async () => {
  const evil = `<script>alert("1")</script>&'`;
  const page = await failure("no-endpoints", asked("text/html"), { detail: evil, requestId: evil }).text();
  expect(page).not.toContain("<script>");
  expect(page).toContain("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;");
  const problem = await failure("no-endpoints", asked("*/*"), { detail: evil, requestId: "x" }).json();
  expect(problem).toMatchObject({ detail: evil });
});

test("the request id is the platform's where it has one, else a new one each time", () => {
  const id = (more: Record<string, string>) =>
    failure("timeout", asked("*/*", "GET", more)).headers.get("x-postern-request-id");
  expect(id({ "cf-ray": "8f1-AMS" })).toBe("8f1-AMS");
  expect(id({})).toMatch(/^[0-9a-f-]{36}$/);
  expect(id({})).not.toBe(id({}));
});

test("the caller may add headers", () => {
  const response = failure("no-endpoints", asked("*/*"));
  response.headers.set("x-postern-unsent", "no-endpoints");
  expect(response.headers.get("x-postern-unsent")).toBe("no-endpoints");
});
