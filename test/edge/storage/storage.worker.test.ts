// Rows in chunks, and schema versions, on a real object's SQLite.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { documentsTable, getDocument, putDocument } from "../../../src/edge/storage/documents.ts";
import { forgetAll } from "../worker/edge.ts";
import { created, migrate } from "../../../src/edge/storage/schema.ts";

afterEach(forgetAll);

const withStorage = async (test: (storage: DurableObjectStorage) => void | Promise<void>): Promise<void> => {
  const stub = env.CLUSTER.get(env.CLUSTER.idFromName("storage"));
  await runInDurableObject(stub, async (_, state) => await test(state.storage));
};

describe("documents", () => {
  it("come back as they were put, whatever their length and characters", async () => {
    await withStorage(async ({ sql }) => {
      sql.exec(documentsTable);
      const text = fc
        .tuple(fc.string({ unit: "binary" }), fc.integer({ min: 0, max: 4 * 1024 * 1024 }))
        .map(([unit, length]) =>
          unit
            .repeat(Math.ceil(length / Math.max(1, unit.length)))
            .slice(0, length)
            .toWellFormed(),
        );
      fc.assert(
        fc.property(text, (value) => {
          putDocument(sql, "a", value);
          return getDocument(sql, "a") === value;
        }),
        { numRuns: 25 },
      );
    });
  });

  it("leave nothing of a longer one before, and do not touch each other", async () => {
    await withStorage(({ sql }) => {
      sql.exec(documentsTable);
      putDocument(sql, "a", "x".repeat(3_000_000));
      putDocument(sql, "b", "other");
      putDocument(sql, "a", "short");
      expect([getDocument(sql, "a"), getDocument(sql, "b"), getDocument(sql, "c")]).toEqual([
        "short",
        "other",
        undefined,
      ]);
      expect(sql.exec("SELECT count(*) AS n FROM document").one()).toEqual({ n: 2 });
    });
  });
});

describe("migrate", () => {
  const one = "CREATE TABLE one (a INTEGER); INSERT INTO one VALUES (1)";
  const two = "ALTER TABLE one ADD COLUMN b INTEGER NOT NULL DEFAULT 7";

  it("runs each migration once, in order", async () => {
    await withStorage((storage) => {
      expect(created(storage.sql)).toBe(false);
      migrate(storage, [one]);
      migrate(storage, [one]);
      expect(created(storage.sql)).toBe(true);
      migrate(storage, [one, two]);
      migrate(storage, [one, two]);
      expect(storage.sql.exec("SELECT * FROM one").toArray()).toEqual([{ a: 1, b: 7 }]);
    });
  });

  it("leaves the version before where one fails", async () => {
    await withStorage((storage) => {
      migrate(storage, [one]);
      expect(() => migrate(storage, [one, two, "nonsense"])).toThrow();
      expect(storage.sql.exec("SELECT * FROM one").toArray()).toEqual([{ a: 1 }]);
      migrate(storage, [one, two]);
      expect(storage.sql.exec("SELECT * FROM one").toArray()).toEqual([{ a: 1, b: 7 }]);
    });
  });
});

describe("an object that was never created", () => {
  it("answers, and writes nothing", async () => {
    const stub = env.CLUSTER.get(env.CLUSTER.idFromName("stray"));
    expect(await stub.verify(`pst_stray_${"A".repeat(43)}`)).toMatchObject({ ok: false, reason: "unknown-token" });
    expect(await stub.table()).toEqual({ generation: 0 });
    expect(await stub.publish({ epoch: 1, sequence: 1 }, "{}")).toMatchObject({ ok: false, reason: "not-created" });
    expect(await stub.grantEpoch()).toMatchObject({ ok: false });
    expect(await stub.rotate()).toMatchObject({ ok: false, reason: "not-created" });
    expect(await stub.tokens()).toMatchObject({ ok: false, reason: "not-created" });
    expect(await stub.revoke("00000000")).toMatchObject({ ok: false, reason: "not-created" });
    expect(await stub.createInstallCode({ madeBy: "" })).toMatchObject({ ok: false, reason: "not-created" });
    expect(await stub.redeemInstallCode("x")).toMatchObject({ ok: false, reason: "unknown-install-code" });
    await stub.dialled(0);
    await stub.recompile();
    await stub.destroy();
    await runInDurableObject(stub, (_, { storage }) => {
      expect(created(storage.sql)).toBe(false);
    });
  });
});
