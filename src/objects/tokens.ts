// The tokens of one cluster, and the install codes that mint more of them: each machine or person may hold one of their own, so
// that withdrawing one breaks nobody else. Both are kept as hashes and shown once. Decides who is let in; closing the sockets
// of withdrawn tokens is the caller's. Everything is in SQLite and survives. Each method is one synchronous transaction: what
// takes time (random bytes, hashes) is done before it is called.
import type { InstallCodeInput, Outcome, Redeemed, Refusal, TokenRecord } from "./contract.ts";
import { type MintedSecret, sameHash } from "./token.ts";

export const tokensMigration = `ALTER TABLE token ADD COLUMN label TEXT NOT NULL DEFAULT '';
   -- made_by: id of the token that asked for it, '' for the admin. expires_at: epoch ms.
   CREATE TABLE install_code (hash BLOB PRIMARY KEY, made_by TEXT NOT NULL, image TEXT, expires_at INTEGER NOT NULL,
     uses INTEGER NOT NULL) WITHOUT ROWID`;
/** options: JSON. */
export const codeOptionsMigration = "ALTER TABLE install_code ADD COLUMN options TEXT NOT NULL DEFAULT '{}'";

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
      .exec<{ id: string; created_at: number; label: string }>("SELECT * FROM token ORDER BY created_at, id")
      .toArray()
      .map(({ id, created_at, label }) => ({ id, createdAt: created_at, label }));
  }

  /** The id of the token with this hash. Takes the same time whatever differs. */
  idOf(hash: Uint8Array): string | undefined {
    return this.#storage.sql
      .exec<{ id: string; hash: ArrayBuffer }>("SELECT id, hash FROM token")
      .toArray()
      .find((each) => sameHash(each.hash, hash))?.id;
  }

  add({ id, hash }: MintedSecret, label: string, now: number): void {
    this.#storage.sql.exec(
      "INSERT INTO token (id, hash, created_at, label) VALUES (?, ?, ?, ?)",
      ...[id, hash, now, label],
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
      if (old !== undefined) this.#remove(old.id);
      this.add(minted, old?.label ?? "rotated", now);
      return { ok: true, withdrawn: old === undefined ? [] : [old.id] };
    });
  }

  revoke(id: string): Outcome<object> {
    if (!this.list().some((each) => each.id === id)) return noToken(id);
    this.#storage.transactionSync(() => this.#remove(id));
    return { ok: true };
  }

  removeAll(): void {
    this.#storage.sql.exec("DELETE FROM token");
    this.#storage.sql.exec("DELETE FROM install_code");
  }

  addCode(
    { hash }: MintedSecret,
    { madeBy, image, options = {} }: InstallCodeInput,
    now: number,
  ): Outcome<{ expiresAt: number; uses: number }> {
    const { sql } = this.#storage;
    sql.exec("DELETE FROM install_code WHERE expires_at <= ?", now);
    if (sql.exec("SELECT 1 FROM install_code").toArray().length >= CODES_MAX) {
      const message = `${CODES_MAX} install codes of this cluster wait to be used: use one, or wait until they expire (15 minutes)`;
      return { ok: false, status: 429, reason: "too-many-codes", message };
    }
    const expiresAt = now + CODE_LIFE_MS;
    sql.exec(
      "INSERT INTO install_code (hash, made_by, image, expires_at, uses, options) VALUES (?, ?, ?, ?, ?, ?)",
      ...[hash, madeBy, image ?? null, expiresAt, CODE_USES, JSON.stringify(options)],
    );
    return { ok: true, expiresAt, uses: CODE_USES };
  }

  /** Spends one use of the code with this hash and adds `minted`. The look-up by hash tells nothing by its time. */
  redeem(hash: Uint8Array<ArrayBuffer>, minted: MintedSecret, now: number): Outcome<Redeemed> {
    const { sql } = this.#storage;
    const [code] = sql
      .exec<{ made_by: string; image: string | null; options: string }>(
        "SELECT made_by, image, options FROM install_code WHERE hash = ? AND expires_at > ?",
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
      this.add(minted, `install code of ${code.made_by === "" ? "the admin" : `token ${code.made_by}`}`, now);
      const options = JSON.parse(code.options) as Redeemed["options"];
      return { ok: true, options, ...(code.image !== null && { image: code.image }) };
    });
  }

  /** Codes that it made go with it: who lost the token shall not get another. */
  #remove(id: string): void {
    this.#storage.sql.exec("DELETE FROM token WHERE id = ?", id);
    this.#storage.sql.exec("DELETE FROM install_code WHERE made_by = ?", id);
  }
}

function noToken(id: string): Refusal {
  const message = `this cluster has no token ${id}: GET .../tokens lists them`;
  return { ok: false, status: 404, reason: "no-such-token", message };
}
