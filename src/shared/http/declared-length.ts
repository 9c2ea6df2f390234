// The few facts of HTTP that both ends of the tunnel act on.

/** Content-Length in [name, value, …] with names in any case; undefined: none, or no whole number. */
export function declaredLength(headers: readonly string[]): number | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (name.length !== 14 || name.toLowerCase() !== "content-length") continue;
    const length = Number(headers[i + 1]);
    return Number.isSafeInteger(length) && length >= 0 ? length : undefined;
  }
  return undefined;
}
