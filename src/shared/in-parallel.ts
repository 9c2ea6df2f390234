// Work on a list, a few items at a time.

/** `work` of each item, in their order, `atOnce` of them at the same time. Rejects as soon as one does; those under way go on. */
export async function inParallel<T>(
  atOnce: number,
  list: readonly T[],
  work: (each: T) => Promise<void>,
): Promise<void> {
  const waiting = list.values();
  const worker = async (): Promise<void> => {
    for (const next of waiting) await work(next);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
