/** The number of unread messages in front of the page's title, whatever the page makes of its title meanwhile. */

/** By bell: what it shows, and how many there are. */
const counts = new Map<object, readonly [source: object | undefined, count: number]>();
let shown = '';
let observer: MutationObserver | undefined;

/** @param count 0 for none; bells of one source count once, as long as one of them shows it */
export function showInTitle(bell: object, source: object | undefined, count: number): void {
  if (count === 0) counts.delete(bell);
  else counts.set(bell, [source, count]);
  write();
}

function write(): void {
  const sum = [...new Map(counts.values()).values()].reduce((a, b) => a + b, 0);
  const { title } = document;
  const own = shown !== '' && title.startsWith(shown) ? title.slice(shown.length) : title;
  shown = sum === 0 ? '' : `(${sum > 99 ? '99+' : sum}) `;
  if (title !== shown + own) document.title = shown + own;
  if (sum === 0) {
    observer?.disconnect();
    observer = undefined;
  } else if (observer === undefined) {
    observer = new MutationObserver(write);
    observer.observe(document.head ?? document.documentElement, {
      subtree: true,
      childList: true,
      characterData: true,
    });
  }
}
