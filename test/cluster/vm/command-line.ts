// The command's options, as both of its halves read them.
export const options = {
  /** A folder that the command writes to; may be given several times. */
  shared: { type: "string", multiple: true, default: [] as string[] },
  /** In MB. */
  memory: { type: "string", default: "4096" },
  /** Given by main.ts. */
  kernel: { type: "string", default: "" },
} as const;
