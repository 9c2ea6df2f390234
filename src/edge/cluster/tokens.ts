// The tokens of one cluster, and the install codes that mint more of them: each machine or person may hold one of their own, so
// that withdrawing one breaks nobody else. Both are kept as hashes and shown once. Decides who is let in; closing the sockets
// of withdrawn tokens is the caller's. Everything is in SQLite and survives. Each method is one synchronous transaction: what
// takes time (random bytes, hashes) is done before it is called.
import type { TokenRecord, TokenRole } from "../../shared/control/answers.ts";
import type { InstallCodeInput, Outcome, Redeemed, Refusal } from "../rpc/contract.ts";
import { type MintedSecret, sameHash } from "./token.ts";

export const tokensMigration = `ALTER TABLE token ADD COLUMN label TEXT NOT NULL DEFAULT '';
   -- made_by: id of the token that asked for it, '' for the admin. expires_at: epoch ms.
   CREATE TABLE install_code (hash BLOB PRIMARY KEY, made_by TEXT NOT NULL, image TEXT, expires_at INTEGER NOT NULL,
     uses INTEGER NOT NULL) WITHOUT ROWID`;
/** options: JSON. */
export const codeOptionsMigration = "ALTER TABLE install_code ADD COLUMN options TEXT NOT NULL DEFAULT '{}'";
/** made_by of a token: id of the one whose code minted it, '' for the admin's. Older tokens say both in their labels alone. */
export const tokenRolesMigration = `ALTER TABLE token ADD COLUMN role TEXT NOT NULL DEFAULT 'owner';
   ALTER TABLE token ADD COLUMN made_by TEXT NOT NULL DEFAULT '';
   UPDATE token SET role = 'agent' WHERE label LIKE 'install code of %';
   UPDATE token SET made_by = substr(label, -8) WHERE label LIKE 'install code of token %'`;
/** Of Node.js. */
export const codeNodeImageMigration = "ALTER TABLE install_code ADD COLUMN node_image TEXT";

/** A cluster has few holders; each request compares with all of them. */
const TOKENS_MAX = 50;
const CODES_MAX = 20;
const CODE_LIFE_MS = 15 * 60_000;
/** A look at it in a browser, and some retries of kubectl. */
const CODE_USES = 5;

/** Also the answer for a cluster that does not exist. */
export const unknownCode: Refusal = {
  ok: false,
  status: 404,
  reason: "unknown-install-code",
  message: "this install code is wrong, used up or older than 15 minutes: make a new one",
};

export class Tokens {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  list(): readonly TokenRecord[] {
    return this.#storage.sql
      .exec<{ id: string; created_at: number; label: string; role: TokenRole }>(
        "SELECT id, created_at, label, role FROM token ORDER BY created_at, id",
      )
      .toArray()
      .map(({ id, created_at, label, role }) => ({ id, createdAt: created_at, label, role }));
  }

  /** The token with this hash. Takes the same time whatever differs. */
  find(hash: Uint8Array): { readonly id: string; readonly role: TokenRole } | undefined {
    return this.#storage.sql
      .exec<{ id: string; hash: ArrayBuffer; role: TokenRole }>("SELECT id, hash, role FROM token")
      .toArray()
      .find((each) => sameHash(each.hash, hash));
  }

  /** `madeBy`: id of the token whose code mints it; "" where the admin or nobody made one. */
  add({ id, hash }: MintedSecret, label: string, role: TokenRole, madeBy: string, now: number): void {
    this.#storage.sql.exec(
      "INSERT INTO token (id, hash, created_at, label, role, made_by) VALUES (?, ?, ?, ?, ?, ?)",
      ...[id, hash, now, label, role, madeBy],
    );
  }

  /** `id` may be left out where the cluster has one token, or none. Answers with the ids that stopped working. */
  replace(id: string | undefined, minted: MintedSecret, now: number): Outcome<{ withdrawn: readonly string[] }> {
    const tokens = this.list();
    if (id === undefined && tokens.length > 1) {
      const message = `this cluster has ${tokens.length} tokens: say which one to rotate (?token=<id>; GET .../tokens lists them)`;
      return { ok: false, status: 409, reason: "several-tokens", message };
    }
    const old = id === undefined ? tokens[0] : tokens.find((each) => each.id === id);
    if (id !== undefined && old === undefined) return noToken(id);
    return this.#storage.transactionSync(() => {
      if (old === undefined) this.add(minted, "rotated", "owner", "", now);
      else this.#rewrite(old.id, minted, now);
      return { ok: true, withdrawn: old === undefined ? [] : [old.id] };
    });
  }

  /** Answers with all that stopped working. */
  revoke(id: string): Outcome<{ withdrawn: readonly string[] }> {
    const { sql } = this.#storage;
    const descent = `WITH RECURSIVE gone (id) AS (
      SELECT id FROM token WHERE id = ? UNION SELECT token.id FROM token JOIN gone ON token.made_by = gone.id)`;
    const withdrawn = sql
      .exec<{ id: string }>(`${descent} SELECT id FROM gone`, id)
      .toArray()
      .map((gone) => gone.id);
    if (withdrawn.length === 0) return noToken(id);
    this.#storage.transactionSync(() => {
      for (const gone of withdrawn) {
        sql.exec("DELETE FROM token WHERE id = ?", gone);
        sql.exec("DELETE FROM install_code WHERE made_by = ?", gone);
      }
    });
    return { ok: true, withdrawn };
  }

  removeAll(): void {
    this.#storage.sql.exec("DELETE FROM token");
    this.#storage.sql.exec("DELETE FROM install_code");
  }

  addCode(
    { hash }: MintedSecret,
    { madeBy, image, nodeImage, options = {} }: InstallCodeInput,
    now: number,
  ): Outcome<{ expiresAt: number; uses: number }> {
    const { sql } = this.#storage;
    // It was withdrawn since it was shown.
    if (madeBy !== "" && !this.list().some(({ id }) => id === madeBy)) return noToken(madeBy);
    sql.exec("DELETE FROM install_code WHERE expires_at <= ?", now);
    if (sql.exec("SELECT 1 FROM install_code").toArray().length >= CODES_MAX) {
      const message = `${CODES_MAX} install codes of this cluster wait to be used: use one, or wait until they expire (15 minutes)`;
      return { ok: false, status: 429, reason: "too-many-codes", message };
    }
    const expiresAt = now + CODE_LIFE_MS;
    sql.exec(
      "INSERT INTO install_code (hash, made_by, image, node_image, expires_at, uses, options) VALUES (?, ?, ?, ?, ?, ?, ?)",
      ...[hash, madeBy, image ?? null, nodeImage ?? null, expiresAt, CODE_USES, JSON.stringify(options)],
    );
    return { ok: true, expiresAt, uses: CODE_USES };
  }

  /** Spends one use of the code with this hash and adds `minted`. The look-up by hash tells nothing by its time. */
  redeem(hash: Uint8Array<ArrayBuffer>, minted: MintedSecret, now: number): Outcome<Redeemed> {
    const { sql } = this.#storage;
    const [code] = sql
      .exec<{ made_by: string; image: string | null; node_image: string | null; options: string }>(
        "SELECT made_by, image, node_image, options FROM install_code WHERE hash = ? AND expires_at > ?",
        ...[hash, now],
      )
      .toArray();
    if (code === undefined) return unknownCode;
    if (this.list().length >= TOKENS_MAX) {
      const message = `this cluster has ${TOKENS_MAX} tokens, the most that one may have: revoke those that nobody uses`;
      return { ok: false, status: 409, reason: "too-many-tokens", message };
    }
    return this.#storage.transactionSync(() => {
      sql.exec("UPDATE install_code SET uses = uses - 1 WHERE hash = ?", hash);
      sql.exec("DELETE FROM install_code WHERE uses <= 0");
      this.add(minted, codeLabel(code.made_by), "agent", code.made_by, now);
      const options = JSON.parse(code.options) as Redeemed["options"];
      return {
        ok: true,
        options,
        ...(code.image !== null && { image: code.image }),
        ...(code.node_image !== null && { nodeImage: code.node_image }),
      };
    });
  }

  /**
   * The new secret in the old one's row. The tokens that came of it stay: a machine that changes its secret must not cut off
   * the agents that it let in. Its codes go: who lost the old secret shall not get another by them.
   */
  #rewrite(old: string, { id, hash }: MintedSecret, now: number): void {
    const { sql } = this.#storage;
    sql.exec("UPDATE token SET id = ?, hash = ?, created_at = ? WHERE id = ?", id, hash, now, old);
    sql.exec("UPDATE token SET made_by = ?, label = ? WHERE made_by = ?", id, codeLabel(id), old);
    sql.exec("DELETE FROM install_code WHERE made_by = ?", old);
  }
}

/** Where a token came from: the code of the token `madeBy`, "" for the admin. */
const codeLabel = (madeBy: string): string => `install code of ${madeBy === "" ? "the admin" : `token ${madeBy}`}`;

function noToken(id: string): Refusal {
  const message = `this cluster has no token ${id}: GET .../tokens lists them`;
  return { ok: false, status: 404, reason: "no-such-token", message };
}
