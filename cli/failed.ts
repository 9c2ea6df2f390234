// What a command ends with when it does not do what it was asked: a sentence, the command that goes on from there, an exit code.

/** Exit codes, which are promised to scripts. 0: done. */
export const exitCodes = {
  /** The edge, kubectl or this machine refused, or something is not as it should be. */
  failed: 1,
  /** The command line, the configuration or a field is wrong; nothing was asked. */
  usage: 2,
  /** What was named is not there. */
  missing: 3,
  /** Nothing answered, or no Postern edge. */
  unreachable: 4,
  /** The token does not count there, or may not do that. */
  unauthorised: 5,
  /** `doctor` or `analyze` did what it was asked, and something is wrong. */
  unwell: 6,
} as const;

export interface FailedOptions {
  /** A command, or a few words, for a person. */
  readonly next?: string | undefined;
  readonly code?: (typeof exitCodes)[keyof typeof exitCodes];
}

export class Failed extends Error {
  readonly next: string | undefined;
  readonly code: number;

  constructor(message: string, { next, code = exitCodes.failed }: FailedOptions = {}) {
    super(message);
    this.name = "Failed";
    this.next = next;
    this.code = code;
  }
}
