// What programs that failed have said, in all modes. Pure but for the work that it is given.

export const isForbidden = (stderr: string): boolean =>
  /permission denied|operation not permitted|must be root/i.test(stderr);

export const oneLine = (stderr: string): string =>
  stderr
    .split("\n")
    .map((line) => line.trim())
    // Advice about the other flavour and about --help, and lines of an input that nobody sees.
    .filter((line) => line !== "" && !/^(?:#|Try |Error occurred at line)/.test(line))
    .join(" ")
    .slice(0, 300);

/** Each has its turn, and what failed is said in the end. */
export async function forEach<Each>(of: readonly Each[], work: (each: Each) => Promise<void>): Promise<void> {
  const failures = new Set<string>();
  for (const each of of) {
    try {
      await work(each);
    } catch (error) {
      failures.add((error as Error).message);
    }
  }
  if (failures.size > 0) throw new Error([...failures].join("; "));
}
