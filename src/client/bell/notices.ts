/**
 * Notifications of the operating system. The reader asks for them by a click, which this browser remembers; they come only
 * while no tab of the site is seen, one for each message, however many tabs there are.
 */

const KEY = 'tidings-bell:notify';

export type NoticeState = 'none' | 'off' | 'on' | 'blocked';

export function noticeState(): NoticeState {
  if (typeof Notification === 'undefined' || !isSecureContext) return 'none';
  if (Notification.permission === 'denied') return 'blocked';
  return Notification.permission === 'granted' && isWanted() ? 'on' : 'off';
}

/** To be called in a click, as browsers want it. */
export async function toggleNotices(): Promise<void> {
  const isOn = noticeState() === 'on';
  want(!isOn);
  if (!isOn && Notification.permission === 'default') await Notification.requestPermission();
}

/** @param tag the message's id: where another tab has told of it, it is the same notification */
export function notify(title: string, body: string, tag: string, lang: string, open: () => void): void {
  if (!document.hidden || noticeState() !== 'on') return;
  const show = (): void => {
    try {
      const notice = new Notification(title, { body, tag, lang });
      notice.onclick = () => {
        notice.close();
        focus();
        open();
      };
    } catch {
      // Chrome on Android has none without a service worker.
    }
  };
  const { locks } = navigator;
  if (locks === undefined) show();
  // To be had only while no tab that is seen holds it.
  else
    locks
      .request(KEY, { ifAvailable: true }, (lock) => {
        if (lock !== null) show();
      })
      .catch(show);
}

/** While this tab is seen it holds a lock, by which hidden ones know it. @returns what ends that */
export function watchSight(): () => void {
  let release: (() => void) | undefined;
  const look = (): void => {
    release?.();
    release = undefined;
    if (document.hidden || navigator.locks === undefined) return;
    const seen = new Promise<void>((resolve) => {
      release = resolve;
    });
    navigator.locks.request(KEY, { mode: 'shared' }, () => seen).catch(() => {});
  };
  look();
  document.addEventListener('visibilitychange', look);
  return () => {
    document.removeEventListener('visibilitychange', look);
    release?.();
  };
}

function isWanted(): boolean {
  try {
    return localStorage.getItem(KEY) === 'yes';
  } catch {
    return false;
  }
}

function want(isOn: boolean): void {
  try {
    if (isOn) localStorage.setItem(KEY, 'yes');
    else localStorage.removeItem(KEY);
  } catch {
    // Forbidden: then there are none.
  }
}
