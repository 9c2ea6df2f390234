// Long texts in SQLite. A value holds 2 MB, so a text lies there as numbered chunks of UTF-8 bytes; cutting bytes instead of
// characters keeps every character whole. Callers wrap put() in a transaction when it belongs together with other rows.
// Survives everything; caches nothing.

const CHUNK_BYTES = 512 * 1024;

export const documentsTable = `CREATE TABLE document (
  name TEXT NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (name, part)
) WITHOUT ROWID`;

export function putDocument(sql: SqlStorage, name: string, text: string): void {
  const bytes = new TextEncoder().encode(text);
  const parts = Math.max(1, Math.ceil(bytes.length / CHUNK_BYTES));
  for (let part = 0; part < parts; part++) {
    // slice copies: SQLite takes the view's whole buffer otherwise.
    const chunk = bytes.slice(part * CHUNK_BYTES, (part + 1) * CHUNK_BYTES);
    sql.exec("INSERT OR REPLACE INTO document (name, part, bytes) VALUES (?, ?, ?)", name, part, chunk);
  }
  sql.exec("DELETE FROM document WHERE name = ? AND part >= ?", name, parts);
}

export function getDocument(sql: SqlStorage, name: string): string | undefined {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text: string | undefined;
  for (const row of sql.exec<{ bytes: ArrayBuffer }>("SELECT bytes FROM document WHERE name = ? ORDER BY part", name)) {
    text = (text ?? "") + decoder.decode(row.bytes, { stream: true });
  }
  return text;
}
