/** The list: a row for each message, made once and brought up to date; the focus stays where it was. */
import type { InboxItem } from '../inbox.ts';
import type { Bell } from './bell.ts';
import { button, h, icon, say, set, slot } from './dom.ts';
import { cut } from './mail.ts';
import type { Texts } from './texts.ts';

const CHECK = 'm5 12.5 4.5 4.5L19 7.5';
const DOT = 'M12 7a5 5 0 1 0 0 10 5 5 0 1 0 0-10z';
const BOX = 'M4 5h16v4H4zM5.5 9v10h13V9M10 13h4';

export interface RowActions {
  toggleRead(item: InboxItem): void;
  archive(item: InboxItem): void;
  /** Where the focus goes when there is no row any more. */
  focus(): void;
}

interface Row {
  element: HTMLLIElement;
  main: HTMLElement;
  /** Where the content is the page's: it stands in the bell, not in its shadow, so that the page's styles hold for it. */
  light: HTMLElement | undefined;
  /** For which it was brought up to date last. */
  texts: Texts | undefined;
  state: InboxItem['state'] | undefined;
  expand(isOpen: boolean): void;
  update(item: InboxItem): void;
}

export interface Rows {
  readonly element: HTMLElement;
  /** @param isNew whether all that was made is to be made again */
  render(items: readonly InboxItem[], isNew?: boolean): void;
  /** @returns false where there is no such row */
  focus(id: string): boolean;
  /** Shows all of the message. */
  expand(id: string): void;
}

let slots = 0;

export function createRows(bell: Bell, { toggleRead, archive, focus }: RowActions): Rows {
  const rows = new Map<string, Row>();
  const focused = (): Element | null => bell.root.activeElement?.closest('li') ?? null;
  const element = h('ul', 'list', {
    role: 'list',
    keydown: (event: KeyboardEvent) => {
      const all = [...element.children];
      const index = all.indexOf(focused()!);
      const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: all.length - 1 }[event.key];
      const row = all[next ?? -1];
      if (row === undefined || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      row.querySelector<HTMLElement>('.main')!.focus();
    },
  });

  function make(item: InboxItem): Row {
    const mail = bell.mail(item);
    const { href, text, from, subject } = mail;
    const content = bell.content(item, mail);
    const hasBody = text !== '' && href === undefined && content === undefined;
    const part = (name: string, ...inner: string[]): HTMLElement =>
      h('span', name, { dir: 'auto' }, ...inner);
    const time = h('time', 'time', { dir: 'auto' });
    const title = part('subject');
    const dot = h('span', 'dot');
    const hidden = h('span', 'unseen');
    let light: HTMLElement | undefined;
    let inner: Node[] = [h('span', 'line', part('from', from), time), title, part('text', cut(text, 300))];
    if (content !== undefined) {
      const name = `row-${++slots}`;
      light = h('div', '', { slot: name }, content);
      bell.element.append(light);
      inner = [slot(name)];
    }
    const press = (event: Event): void => {
      if (bell.opened({ item, mail, data: item.data }, event))
        row.expand(main.getAttribute('aria-expanded') !== 'true');
    };
    const main =
      href === undefined
        ? button('mail main', press)
        : h('a', 'mail main', {
            part: 'mail link',
            href,
            target: bell.element.getAttribute('target') ?? undefined,
            rel: 'noopener',
            click: press,
            // The middle button opens it, too.
            auxclick: (event: MouseEvent) => event.button === 1 && press(event),
          });
    main.append(dot, hidden, ...inner);
    if (hasBody) set(main, { 'aria-expanded': 'false' });
    const body = h('p', 'body', { dir: 'auto', hidden: true }, hasBody ? text : '');
    const readButton = button('action icon-button', () => toggleRead(item));
    const archiveButton = button('action icon-button', () => archive(item), icon(BOX));
    const row: Row = {
      element: h('li', '', main, h('div', 'actions', readButton, archiveButton), body),
      main,
      light,
      texts: undefined,
      state: undefined,
      expand(isOpen) {
        if (!hasBody) return;
        set(main, { 'aria-expanded': `${isOpen}` });
        body.hidden = !isOpen;
      },
      update(newer) {
        const { texts } = bell;
        item = newer;
        say(time, texts.time(item.time));
        if (row.texts === texts && row.state === item.state) return;
        row.texts = texts;
        row.state = item.state;
        const isUnread = item.state !== 'read';
        const shown = subject || texts.say('noSubject');
        set(row.element, { class: isUnread && 'unread', part: isUnread ? 'row unread' : 'row read' });
        dot.hidden = !isUnread;
        say(hidden, isUnread ? `${texts.say('isUnread')}. ` : '');
        say(title, shown);
        time.title = texts.date(item.time);
        readButton.replaceChildren(icon(isUnread ? CHECK : DOT));
        const name = (one: HTMLElement, what: string): void => {
          one.title = what;
          set(one, { 'aria-label': `${what}: ${cut(shown, 80)}` });
        };
        name(readButton, texts.say(isUnread ? 'markRead' : 'markUnread'));
        name(archiveButton, texts.say('archive'));
      },
    };
    rows.set(item.id, row);
    return row;
  }

  return {
    element,
    render(items, isNew) {
      const active = focused();
      const index = [...element.children].indexOf(active!);
      const ids = new Set(items.map(({ id }) => id));
      // What the page has made has its texts in it.
      for (const [id, row] of rows)
        if (isNew || !ids.has(id) || (row.light !== undefined && row.texts !== bell.texts)) {
          rows.delete(id);
          row.element.remove();
          row.light?.remove();
        }
      items.forEach((item, i) => {
        const row = rows.get(item.id) ?? make(item);
        row.update(item);
        if (element.children[i] !== row.element)
          element.insertBefore(row.element, element.children[i] ?? null);
      });
      if (active === null || active.isConnected) return;
      const next = element.children[Math.min(index, element.children.length - 1)];
      if (next === undefined) focus();
      else next.querySelector<HTMLElement>('.main')!.focus();
    },
    focus(id) {
      rows.get(id)?.main.focus();
      return rows.has(id);
    },
    expand(id) {
      const row = rows.get(id);
      row?.main.focus();
      row?.expand(true);
    },
  };
}
