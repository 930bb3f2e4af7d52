/** What opens below the bell: head, list, states. Not modal: whoever leaves it with the focus has closed it. */
import type { InboxItem } from '../inbox.ts';
import type { Bell } from './bell.ts';
import { button, h, icon, say, set, slot } from './dom.ts';
import { float, placeAt, sink } from './layer.ts';
import { safeLink } from './mail.ts';
import { noticeState, toggleNotices } from './notices.ts';
import { createRows, type Rows } from './rows.ts';
import { ignore } from './source.ts';
import { CROSS } from './toasts.ts';

/** Milliseconds that what was archived can be brought back. */
const UNDO_TIME = 10_000;
/** After which the times of an open list are written anew. */
const MINUTE = 60_000;
/** Messages of a page of the list. */
const ROWS = 20;
const MOST_ROWS = 200;

export interface Panel {
  readonly element: HTMLElement;
  readonly rows: Rows;
  isOpen(): boolean;
  open(): void;
  close(): void;
  /** New rows don't push out those that are seen. */
  grow(count: number): void;
  /** @param isNew whether the rows are to be made again */
  render(isNew?: boolean): void;
}

/** @param place of a rule for where it is */
export function createPanel(bell: Bell, place: CSSStyleDeclaration | undefined): Panel {
  let archived: InboxItem | undefined;
  /** How many rows there may be. */
  let shown = 0;
  let minute: ReturnType<typeof setInterval>;
  let undoing: ReturnType<typeof setTimeout>;

  const inbox = () => bell.source?.client.inbox;
  const limit = (): number => {
    const wanted = Math.floor(Number(bell.element.getAttribute('limit')));
    return wanted >= 1 ? Math.min(MOST_ROWS, wanted) : ROWS;
  };
  const focus = (): void => element.focus({ preventScroll: true });
  const textButton = (part: string, click: () => unknown): HTMLButtonElement =>
    button(`${part} text-button`, click);

  const title = h('h2', 'title', { id: 'title' });
  const markAll = textButton('mark-all', () => {
    inbox()?.markAllRead().catch(ignore);
    bell.announce(bell.texts.say('allRead'));
  });
  const close = button('close icon-button', () => bell.close(), icon(CROSS));
  const offline = h('span', '');
  const tryNow = textButton('try-now', () => bell.source?.client.connect());
  const note = h('div', 'note', { hidden: true }, offline, tryNow);
  const said = h('p', 'said');
  const empty = slot('empty');
  const retry = textButton('retry', () => bell.source?.load(limit()));
  const signIn = h('a', 'sign-in text-button');
  const stateOf = h('div', 'empty', said, empty, retry, signIn);
  const more = textButton('more', () => {
    const last = rows.element.lastElementChild;
    shown += limit();
    if (bell.source !== undefined && bell.source.items().length < shown && inbox()?.hasMore)
      bell.source.load(limit());
    render();
    // To the first of those that are here already, as the button has moved away.
    last?.nextElementSibling?.querySelector<HTMLElement>('.main')?.focus();
  });
  const archivedText = h('span', 'archived');
  const forget = (): void => {
    clearTimeout(undoing);
    archived = undefined;
    render();
  };
  const undo = textButton('undo', () => {
    const item = archived;
    if (item === undefined) return;
    inbox()?.unarchive(item).catch(ignore);
    forget();
    if (!rows.focus(item.id)) focus();
  });
  const notices = textButton('notify', () => toggleNotices().then(() => render(), ignore));
  const foot = h('div', 'foot', archivedText, undo, notices, slot('foot'));

  const rows = createRows(bell, {
    focus,
    toggleRead: (item) => {
      (item.state === 'read' ? inbox()?.markUnread(item) : inbox()?.markRead(item))?.catch(ignore);
    },
    archive(item) {
      inbox()?.archive(item).catch(ignore);
      clearTimeout(undoing);
      archived = item;
      undoing = setTimeout(forget, UNDO_TIME);
      bell.announce(bell.texts.say('archived'));
      render();
    },
  });
  const scroll = h('div', 'scroll', stateOf, rows.element, more);
  const element = h(
    'div',
    'panel',
    {
      id: 'panel',
      role: 'dialog',
      'aria-labelledby': 'title',
      tabindex: '-1',
      hidden: true,
    },
    h('div', 'head', title, slot('head'), markAll, close),
    note,
    scroll,
    foot,
  );
  const isOpen = (): boolean => !element.hidden;

  const move = (): void => {
    const isRtl = getComputedStyle(bell.anchor).direction === 'rtl';
    const at = placeAt(bell.anchor.getBoundingClientRect(), element.getBoundingClientRect(), isRtl);
    for (const [name, value] of Object.entries(at)) place?.setProperty(`--_${name}`, `${value}px`);
  };

  /** What is about to be hidden or disabled with the focus would lose it to the page. */
  const give = (one: HTMLElement, keeps: boolean): boolean => {
    if (!keeps && bell.root.activeElement === one) focus();
    return !keeps;
  };
  const show = (one: HTMLElement, isShown: boolean, text: string): void => {
    one.hidden = give(one, isShown);
    say(one, text);
  };

  function render(isNew?: boolean): void {
    if (!isOpen()) return;
    const { texts, source, state } = bell;
    const items = source?.items() ?? [];
    const isConnected = state === 'connected';
    if (source?.loading === 'not yet' && isConnected) source.load(limit());
    const loading = source?.loading;
    const isOut = state === 'signed-out';
    const isFailed = isConnected && loading === 'failed';
    const isLoading = state === 'loading' || (isConnected && loading !== 'loaded' && !isFailed);

    element.lang = texts.language;
    say(title, texts.say('title'));
    markAll.disabled = give(markAll, source !== undefined && source.count('unread') > 0);
    say(markAll, texts.say('markAll'));
    set(close, { 'aria-label': texts.say('close'), title: texts.say('close') });
    const isAway = state === 'offline';
    note.hidden = give(tryNow, isAway);
    say(offline, texts.say('offline'));
    say(tryNow, texts.say('tryNow'));

    const says = isOut ? 'signed-out' : isFailed ? 'unloaded' : isLoading ? 'loading' : 'empty';
    stateOf.hidden = !isOut && !isFailed && (items.length > 0 || (isAway && loading !== 'loaded'));
    set(scroll, { 'aria-busy': `${isLoading}` });
    said.hidden = says === 'empty';
    say(said, texts.say(says));
    empty.hidden = says !== 'empty';
    say(empty, texts.say('empty'));
    show(retry, isFailed, texts.say('tryNow'));
    const href = isOut ? safeLink(bell.element.getAttribute('sign-in-url')) : undefined;
    set(signIn, { href });
    show(signIn, href !== undefined, texts.say('signIn'));

    rows.render(items.slice(0, shown), isNew);
    const hasMore = items.length > shown || (isConnected && inbox()?.hasMore === true);
    show(more, items.length > 0 && hasMore && !isFailed, texts.say(isLoading ? 'loading' : 'more'));

    const hasUndo = archived !== undefined && !isOut;
    archivedText.hidden = !hasUndo;
    say(archivedText, texts.say('archived'));
    show(undo, hasUndo, texts.say('undo'));
    const notice = bell.element.hasAttribute('notifications') && !isOut ? noticeState() : 'none';
    show(notices, notice !== 'none', texts.say(notice === 'none' ? 'off' : notice));
    notices.disabled = notice === 'blocked';
    foot.classList.toggle('bare', !hasUndo && notice === 'none');

    // Above the bell it grows upwards.
    move();
    if (isConnected && loading === 'loaded' && !document.hidden) source?.seen();
  }

  return {
    element,
    rows,
    isOpen,
    render,
    grow(count) {
      shown += count;
    },
    open() {
      shown = limit();
      float(element);
      render();
      scroll.scrollTop = 0;
      focus();
      addEventListener('resize', move);
      addEventListener('scroll', move, true);
      minute = setInterval(render, MINUTE);
    },
    close() {
      removeEventListener('resize', move);
      removeEventListener('scroll', move, true);
      clearInterval(minute);
      forget();
      sink(element);
    },
  };
}
