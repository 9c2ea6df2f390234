// The SQLite schema of an object: a list of migrations, of which each runs once, in order, and is never edited after a
// release. An object that was never created writes nothing: a stray request must not leave a database behind.

/** True where migrate() has run on this object before. */
export function created(sql: SqlStorage): boolean {
  return sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema'").toArray().length > 0;
}

/** Brings the schema to its newest version. All or nothing. */
export function migrate(storage: DurableObjectStorage, migrations: readonly string[]): void {
  const { sql } = storage;
  storage.transactionSync(() => {
    sql.exec("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)");
    const row = sql.exec<{ version: number }>("SELECT version FROM schema").toArray()[0];
    const version = row?.version ?? 0;
    for (const migration of migrations.slice(version)) sql.exec(migration);
    if (row === undefined) sql.exec("INSERT INTO schema (version) VALUES (?)", migrations.length);
    else if (version < migrations.length) sql.exec("UPDATE schema SET version = ?", migrations.length);
  });
}
