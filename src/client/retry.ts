/** What is asked again a moment later on the same connection, as the server's store was away. */

/** Milliseconds. */
const DELAY = 2_000;

export type Retry = ReturnType<typeof createRetry>;

export function createRetry() {
  const waiting = new Map<unknown, () => void>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = (): void => {
    clearTimeout(timer);
    timer = undefined;
    waiting.clear();
  };
  return {
    /** @param what is asked for once, however often it is said */
    later(what: unknown, ask: () => void): void {
      waiting.set(what, ask);
      timer ??= setTimeout(() => {
        const asks = [...waiting.values()];
        stop();
        for (const each of asks) each();
      }, DELAY);
    },
    stop,
  };
}
