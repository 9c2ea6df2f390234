// How an option of the agent is called where it is a setting: in its environment, and in the ConfigMap that fills that. Pure.

const PREFIX = "POSTERN_";

/** "default-class" → "POSTERN_DEFAULT_CLASS" */
export const settingOf = (option: string): string => PREFIX + option.toUpperCase().replaceAll("-", "_");

/** "POSTERN_DEFAULT_CLASS" → "default-class"; undefined for what is no setting of ours. */
export const optionOf = (setting: string): string | undefined =>
  setting.startsWith(PREFIX) ? setting.slice(PREFIX.length).toLowerCase().replaceAll("_", "-") : undefined;
