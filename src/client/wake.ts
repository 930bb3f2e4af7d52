/** The moments at which a page should look after its connection rather than wait for a timer. */

/** Whether nobody sees the page. */
export function isHidden(): boolean {
  return globalThis.document?.visibilityState === 'hidden';
}

/**
 * @param wake the page is shown again, or the network is back
 * @param leave the page is not shown any more, and may be about to end: say now what must be said
 * @returns a function that stops watching
 */
export function onWake(wake: () => void, leave: () => void): () => void {
  const look = ({ type }: Event): void =>
    type === 'pagehide' || (type === 'visibilitychange' && isHidden()) ? leave() : wake();
  const { document } = globalThis;
  const each = (how: 'addEventListener' | 'removeEventListener'): void => {
    if (!document) return;
    for (const type of ['online', 'pageshow', 'pagehide']) window[how](type, look);
    for (const type of ['resume', 'visibilitychange']) document[how](type, look);
    // Another network: what the old one carried is dead.
    (navigator as { connection?: EventTarget }).connection?.[how]('change', look);
  };
  each('addEventListener');
  return () => each('removeEventListener');
}
