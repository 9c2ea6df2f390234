// What is found again at every look is not said at every look: the same words of a topic once an hour, other words of it once a minute.

const SAME_AGAIN_MS = 3_600_000;
const NEWS_AGAIN_MS = 60_000;

/** `now`: milliseconds. */
export function byTopic(
  say: (line: string) => void,
  now: () => number = () => performance.now(),
): (topic: string, words: string) => void {
  const said = new Map<string, { readonly words: string; readonly at: number }>();
  return (topic, words) => {
    const last = said.get(topic);
    const at = now();
    if (last !== undefined && at - last.at < (last.words === words ? SAME_AGAIN_MS : NEWS_AGAIN_MS)) return;
    said.set(topic, { words, at });
    say(words);
  };
}
