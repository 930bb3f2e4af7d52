/** The moments at which a page should look after its connection rather than wait for a timer. */

/**
 * @param wake the page is shown again, or the network is back
 * @param leave the page may be about to end: say now what must be said
 * @returns a function that stops listening
 */
export function onWake(wake: () => void, leave: () => void): () => void {
  if (typeof document === 'undefined') return () => {};
  const visibility = () => (document.visibilityState === 'visible' ? wake() : leave());
  const listeners: [EventTarget, string, () => void][] = [
    [window, 'online', wake],
    [window, 'pageshow', wake],
    [window, 'pagehide', leave],
    [document, 'visibilitychange', visibility],
  ];
  for (const [target, type, listener] of listeners) target.addEventListener(type, listener);
  return () => {
    for (const [target, type, listener] of listeners) target.removeEventListener(type, listener);
  };
}
