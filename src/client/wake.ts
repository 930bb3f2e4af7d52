/** The moments at which a page should look after its connection rather than wait for a timer. */

/** Milliseconds between looks at the clock, and by how much a look must be late for the machine to have slept. */
const LOOK = 2_000;
const SLEPT = 5_000;

/** Whether nobody sees the page. */
export function isHidden(): boolean {
  return typeof document !== 'undefined' && document.visibilityState === 'hidden';
}

export interface Watchers {
  /** The page is shown again, the network is back, or the machine has slept. */
  wake(): void;
  /** The page is not shown any more, and may be about to end: say now what must be said. */
  leave(): void;
}

/** @returns a function that stops watching */
export function onWake({ wake, leave }: Watchers): () => void {
  // Of a machine's sleep nobody tells a page that was shown all the time. Hidden ones have slow timers anyway.
  let last = Date.now();
  const clock = setInterval(() => {
    const slept = Date.now() - last - LOOK;
    last = Date.now();
    if (slept > SLEPT && !isHidden()) wake();
  }, LOOK);
  const listeners: [EventTarget | undefined, string, () => void][] = [];
  if (typeof document !== 'undefined') {
    listeners.push(
      [window, 'online', wake],
      [window, 'pageshow', wake],
      [window, 'pagehide', leave],
      [document, 'resume', wake],
      [document, 'visibilitychange', () => (isHidden() ? leave() : wake())],
      // Another network: what the old one carried is dead.
      [(navigator as { connection?: EventTarget }).connection, 'change', wake],
    );
  }
  for (const [target, type, listener] of listeners) target?.addEventListener(type, listener);
  return () => {
    clearInterval(clock);
    for (const [target, type, listener] of listeners) target?.removeEventListener(type, listener);
  };
}
