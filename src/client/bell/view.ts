/** What is seen of a bell: the button with its number, the panel, toasts; and what the page is told of it by events. */
import type { InboxItem } from '../inbox.ts';
import type { Bell, BellEvents, MailDetail } from './bell.ts';
import { button, h, icon, rootsAround, say, set, slot, uncaught } from './dom.ts';
import { cut, type Mail, mailOf, withOwn } from './mail.ts';
import { notify, watchSight } from './notices.ts';
import { showInTitle } from './page-title.ts';
import { createPanel } from './panel.ts';
import { ignore, type News } from './source.ts';
import { css } from './style.ts';
import type { Texts } from './texts.ts';
import { createToasts } from './toasts.ts';

const BELL = 'M18 9a6 6 0 0 0-12 0c0 6-2.5 7.5-2.5 7.5h17S18 15 18 9M10 20a2.2 2.2 0 0 0 4 0';
/** Milliseconds that a toast stays. */
const TOAST_TIME = 8_000;
/** The longest that timers can wait. */
const MOST_TIME = 2 ** 31 - 1;
/** More messages than this at once are told of by one toast. */
const MOST_AT_ONCE = 2;
/** The largest number that the badge shows; the button's name has the right one. */
const MOST_SHOWN = 99;

export function createBell(element: HTMLElement, texts: Texts, update: () => void): Bell {
  const root = element.attachShadow({ mode: 'open' });
  const badge = h('span', 'badge', { 'aria-hidden': 'true', hidden: true });
  const announcer = h('div', 'unseen', { role: 'status' });
  const anchor = button('button', () => element.toggleAttribute('open'));
  set(anchor, { 'aria-haspopup': 'dialog', 'aria-expanded': 'false', 'aria-controls': 'panel' });
  anchor.append(slot('icon', icon(BELL)), badge);
  let stopWatching: (() => void) | undefined;
  let counts = '';

  const attribute = (name: string): string | null => element.getAttribute(name);
  const has = (name: string): boolean => element.hasAttribute(name);
  /** 0 for no toasts. */
  const toastTime = (): number =>
    attribute('toast') === 'off'
      ? 0
      : Math.max(0, Math.min(Number(attribute('toast')) || TOAST_TIME, MOST_TIME));

  /** @returns false where a listener has prevented what comes next */
  const tell = <Name extends keyof BellEvents>(name: Name, detail: BellEvents[Name]['detail']): boolean =>
    element.dispatchEvent(new CustomEvent(name, { detail, cancelable: true, bubbles: true, composed: true }));

  /** What is pressed is looked at in each of them, while the list is open. */
  let roots: Node[] = [];
  const outside = (event: Event): void => {
    const path = event.composedPath();
    // In a closed one only its own listener sees what it was.
    const isHidden = (root: Node): boolean =>
      root instanceof ShadowRoot && root.mode === 'closed' && root.host === path[0];
    if (!path.includes(element) && !roots.some(isHidden)) element.removeAttribute('open');
  };

  const read = (data: unknown, item: InboxItem | undefined): Mail => {
    const mail = mailOf(data);
    try {
      return withOwn(mail, bell.readMail?.(data, item) ?? {});
    } catch (error) {
      uncaught(error);
      return mail;
    }
  };

  const subjectOf = ({ subject }: Mail): string => subject || bell.texts.say('noSubject');

  /** In one line, names held apart from what stands around them (UAX #9: first strong isolate). */
  const lineOf = (mail: Mail): string => {
    const isolated = (text: string): string => `\u2068${cut(text, 120)}\u2069`;
    const values = { from: isolated(mail.from), subject: isolated(subjectOf(mail)) };
    return bell.texts.say(mail.from === '' ? 'one' : 'oneFrom', values);
  };

  /** @param press on a link, which the browser follows; without it, it is followed here */
  const show = (detail: MailDetail, press?: Event): void => {
    const { item, mail } = detail;
    if (!bell.opened(detail, press)) return;
    if (mail.href !== undefined) {
      if (press === undefined) location.assign(mail.href);
    } else if (item !== undefined) {
      element.toggleAttribute('open', true);
      panel.rows.expand(item.id);
    }
  };

  /** Toasts of what was read or is gone; and all of a user who has signed out. */
  const dropToasts = (): void => {
    if (bell.state === 'signed-out') toasts.clear();
    const { keys } = toasts;
    if (keys.length === 0) return;
    const items = new Map(bell.source?.items().map((item) => [`=${item.id}`, item]));
    for (const key of keys)
      if (key.startsWith('=') && (items.get(key)?.state ?? 'read') === 'read') toasts.remove(key);
  };

  const bell: Bell = {
    element,
    root,
    anchor,
    texts,
    source: undefined,
    state: 'loading',
    readMail: undefined,
    makeRow: undefined,
    changed: update,
    tells: () => toastTime() > 0 || has('notifications'),
    announce: (text) => {
      announcer.textContent = text;
    },

    render(isNew) {
      const { source, texts } = bell;
      const state = source?.state() ?? 'offline';
      const [unseen, unread] =
        source === undefined ? [0, 0] : [source.count('unseen'), source.count('unread')];
      const count = attribute('count') === 'unseen' ? unseen : unread;
      badge.hidden = count === 0;
      say(badge, count > MOST_SHOWN ? `${MOST_SHOWN}+` : texts.number(count));
      const name = texts.say('title');
      const number = texts.say('unread', { count: texts.number(unread) });
      set(anchor, { 'aria-label': unread === 0 ? name : `${name}, ${number}`, lang: texts.language });
      anchor.classList.toggle('off', state === 'offline' || state === 'signed-out');
      showInTitle(element, source, has('title-badge') ? count : 0);
      if (has('notifications')) stopWatching ??= watchSight();

      const isOther = state !== bell.state;
      bell.state = state;
      dropToasts();
      panel.render(isNew);
      const before = counts;
      counts = `${unseen} ${unread}`;
      if (counts !== before) tell('tidings-counts', { unseen, unread });
      if (!isOther) return;
      tell('tidings-state', { state });
      if (panel.isOpen() && (state === 'offline' || state === 'signed-out')) bell.announce(texts.say(state));
    },

    toggled() {
      const open = has('open') && element.isConnected;
      if (open === panel.isOpen()) return;
      set(anchor, { 'aria-expanded': `${open}` });
      if (open) {
        // The list has what they tell.
        toasts.clear();
        panel.open();
        roots = rootsAround(element);
        for (const root of roots) root.addEventListener('pointerdown', outside, true);
      } else {
        for (const root of roots) root.removeEventListener('pointerdown', outside, true);
        panel.close();
      }
      tell('tidings-toggle', { open });
    },

    left() {
      element.removeAttribute('open');
      toasts.clear();
      stopWatching?.();
      stopWatching = undefined;
    },

    close() {
      element.removeAttribute('open');
      anchor.focus();
    },

    mail: (item) => read(item.data, item),

    content(item, mail) {
      try {
        const own = bell.makeRow?.(item, mail);
        if (own) return own;
      } catch (error) {
        uncaught(error);
      }
      const template = element.querySelector<HTMLTemplateElement>(':scope > template');
      if (template === null) return undefined;
      const copy = document.importNode(template.content, true);
      const values: Record<string, unknown> = {
        ...mail,
        subject: subjectOf(mail),
        time: bell.texts.time(item.time),
      };
      for (const field of copy.querySelectorAll<HTMLElement>('[data-field]'))
        field.textContent = `${values[field.dataset['field']!] ?? ''}`;
      return copy;
    },

    opened(detail, event) {
      const { item } = detail;
      if (!tell('tidings-open', detail)) {
        event?.preventDefault();
        return false;
      }
      if (item !== undefined && item.state !== 'read') bell.source?.client.inbox.markRead(item).catch(ignore);
      return true;
    },

    arrived(news: News[], isFirst) {
      const { texts } = bell;
      const own = news
        .map(({ data, item, id }) => ({ id, detail: { item, mail: read(data, item), data } }))
        .filter(({ detail }) => tell('tidings-mail', detail));
      panel.grow(news.length);
      if (!isFirst || own.length === 0) return;
      const isMany = own.length > MOST_AT_ONCE;
      const many = texts.say('many', { count: texts.number(own.length) });
      bell.announce(isMany ? many : own.map(({ detail }) => lineOf(detail.mail)).join('\n'));
      if (has('notifications'))
        for (const { id, detail } of own)
          notify(lineOf(detail.mail), cut(detail.mail.text, 200), id ?? '', texts.language, () =>
            show(detail),
          );
      const time = toastTime();
      if (panel.isOpen() || document.hidden || time === 0) return;
      const toast = (key: string, text: string, open: (event: Event) => void, mail?: Mail): void =>
        toasts.show({ key, text, mail, time, open, close: texts.say('close'), target: attribute('target') });
      if (isMany) {
        toasts.clear();
        toast('many', many, () => element.toggleAttribute('open', true));
      } else
        for (const { detail } of own) {
          const { item, mail } = detail;
          toast(
            item ? `=${item.id}` : `${Math.random()}`,
            subjectOf(mail),
            (event) => show(detail, event),
            mail,
          );
        }
    },
  };

  const sheet = adopt(root, element.nonce);
  // Where the panel is: in a rule of this bell's own, as strict policies forbid style attributes.
  const rule = sheet?.cssRules[sheet.insertRule(':host{}')] as CSSStyleRule | undefined;
  const panel = createPanel(bell, rule?.style);
  const toasts = createToasts(() => anchor.focus());
  const onKey = (event: KeyboardEvent): void => {
    if (event.key !== 'Escape' || !panel.isOpen()) return;
    // It closes the list, and not the dialog around it as well.
    event.preventDefault();
    event.stopPropagation();
    bell.close();
  };
  root.append(h('div', 'root', { keydown: onKey }, anchor, panel.element, toasts.element, announcer));
  element.addEventListener('focusout', ({ relatedTarget }) => {
    if (relatedTarget instanceof Node && !element.contains(relatedTarget)) element.removeAttribute('open');
  });
  return bell;
}

let shared: CSSStyleSheet | undefined;

/** @returns a sheet of this root's own */
function adopt(root: ShadowRoot, nonce: string | undefined): CSSStyleSheet | undefined {
  if ('adoptedStyleSheets' in root) {
    if (shared === undefined) {
      shared = new CSSStyleSheet();
      shared.replaceSync(css);
    }
    const own = new CSSStyleSheet();
    root.adoptedStyleSheets = [shared, own];
    return own;
  }
  // Safari before 16.4: the policy has to permit it, by this nonce perhaps.
  const style = h('style', '', css);
  if (nonce) style.nonce = nonce;
  (root as ShadowRoot).append(style);
  return style.sheet ?? undefined;
}
