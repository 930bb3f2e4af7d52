/** What is told of new mail for some seconds, in a corner of the page. */
import { button, h, icon, set } from './dom.ts';
import { float, sink } from './layer.ts';
import type { Mail } from './mail.ts';

export const CROSS = 'M6 6l12 12M18 6 6 18';
/** More of them would cover the page. */
const MOST = 3;

export interface Toast {
  /** One toast at a time for each. */
  key: string;
  text: string;
  /** Left out for what is about several. */
  mail: Mail | undefined;
  target: string | null;
  /** The name of the button that takes it away. */
  close: string;
  /** Milliseconds that it stays, unless it is pointed at or has the focus. */
  time: number;
  open(event: Event): void;
}

export interface Toasts {
  readonly element: HTMLElement;
  readonly keys: string[];
  show(toast: Toast): void;
  remove(key: string): void;
  clear(): void;
}

/** @param fallback moves the focus where there is nothing to give it back to */
export function createToasts(fallback: () => void): Toasts {
  const shown = new Map<string, HTMLElement>();
  /** Had the focus before one of them had it. */
  let before: HTMLElement | undefined;

  const element = h('div', 'toasts', {
    hidden: true,
    focusin: ({ relatedTarget }: FocusEvent) => {
      if (relatedTarget instanceof HTMLElement && !element.contains(relatedTarget)) before = relatedTarget;
    },
    keydown: (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      // It takes the toast away, and not the dialog around it as well.
      event.preventDefault();
      event.stopPropagation();
      (event.target as Element).parentElement!.querySelector<HTMLElement>('.icon-button')!.click();
    },
  });

  const toasts: Toasts = {
    element,
    get keys() {
      return [...shown.keys()];
    },

    show({ key, text, mail, target, close, time, open }) {
      toasts.remove(key);
      const lines = [h('span', 'subject', { dir: 'auto' }, text)];
      if (mail?.from) lines.unshift(h('span', 'from', { dir: 'auto' }, mail.from));
      const press = (event: Event): void => {
        toasts.remove(key);
        open(event);
      };
      const toast = h(
        'div',
        'toast',
        mail?.href === undefined
          ? button('toast-mail main', press, ...lines)
          : h(
              'a',
              'toast-mail main',
              {
                click: press,
                href: mail.href,
                target: target ?? undefined,
                rel: 'noopener',
              },
              ...lines,
            ),
      );
      const dismiss = button('dismiss icon-button', () => {
        const next = toast.nextElementSibling;
        toasts.remove(key);
        next?.querySelector<HTMLElement>('.icon-button')?.focus();
      });
      dismiss.append(icon(CROSS));
      set(dismiss, { 'aria-label': close });
      toast.append(dismiss);
      const wait = (): void => {
        setTimeout(() => {
          if (shown.get(key) !== toast) return;
          if (toast.matches(':hover, :focus-within')) wait();
          else toasts.remove(key);
        }, time);
      };
      wait();
      shown.set(key, toast);
      element.append(toast);
      float(element);
      for (const old of toasts.keys.slice(0, -MOST)) toasts.remove(old);
    },

    remove(key) {
      const toast = shown.get(key);
      if (toast === undefined) return;
      shown.delete(key);
      const hadFocus = toast.matches(':focus-within');
      toast.remove();
      if (shown.size === 0) sink(element);
      if (!hadFocus) return;
      if (before?.isConnected) before.focus();
      else fallback();
      before = undefined;
    },

    clear() {
      toasts.keys.forEach(toasts.remove);
    },
  };
  return toasts;
}
