/** The number of unread messages in front of the page's title, whatever the page makes of its title meanwhile. */

const counts = new Map<object, number>();
let shown = '';
let observer: MutationObserver | undefined;

/** @param count 0 for none; bells of one source count once */
export function showInTitle(source: object, count: number): void {
  if ((counts.get(source) ?? 0) === count) return;
  if (count === 0) counts.delete(source);
  else counts.set(source, count);
  write();
}

function write(): void {
  const sum = [...counts.values()].reduce((a, b) => a + b, 0);
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
