/** The bell's own texts, and which language's are taken. `{…}` stands for what is put in. */

const en = {
  title: 'Messages',
  unread: '{count} unread',
  close: 'Close',
  markAll: 'Mark all as read',
  markRead: 'Mark as read',
  markUnread: 'Mark as unread',
  archive: 'Archive',
  archived: 'Message archived.',
  undo: 'Undo',
  more: 'Show more',
  loading: 'Loading…',
  empty: 'No messages. What you are sent appears here at once.',
  unloaded: 'The messages could not be loaded.',
  offline: 'No connection. It comes back by itself.',
  tryNow: 'Try now',
  'signed-out': 'You are signed out.',
  signIn: 'Sign in',
  isUnread: 'Unread',
  noSubject: '(no subject)',
  one: 'New message: {subject}',
  oneFrom: 'New message from {from}: {subject}',
  many: '{count} new messages',
  allRead: 'All messages are read.',
  off: 'Notify me on this device',
  on: 'Don’t notify me on this device',
  blocked: 'This browser blocks notifications of this site.',
};

/** What the bell says, by name. `{count}` stands for a number. */
export type BellTexts = Record<keyof typeof en, string>;

const zh: BellTexts = {
  title: '站内信',
  unread: '{count} 条未读',
  close: '关闭',
  markAll: '全部标为已读',
  markRead: '标为已读',
  markUnread: '标为未读',
  archive: '归档',
  archived: '已归档。',
  undo: '撤销',
  more: '显示更多',
  loading: '正在加载…',
  empty: '暂无消息。有新消息时会立刻显示在这里。',
  unloaded: '消息加载失败。',
  offline: '连接已断开，稍后会自动恢复。',
  tryNow: '立即重试',
  'signed-out': '您已退出登录。',
  signIn: '登录',
  isUnread: '未读',
  noSubject: '（无主题）',
  one: '新消息：{subject}',
  oneFrom: '{from} 发来新消息：{subject}',
  many: '{count} 条新消息',
  allRead: '所有消息均已读。',
  off: '在本设备上通知我',
  on: '不再在本设备上通知我',
  blocked: '浏览器已禁止本站的通知。',
};

/** By language: `TidingsBell.texts.de = {…}` adds one. What a language lacks is said in English. */
export const languages: Record<string, Partial<BellTexts>> = Object.assign(Object.create(null), { en, zh });

/** The first of these languages that there are texts for: `zh-CN` takes those of `zh`. */
export function chooseLanguage(wanted: readonly string[]): string {
  for (const tag of wanted)
    for (const name of [tag, tag.split(/[-_]/)[0]!])
      for (const language of Object.keys(languages))
        if (language.toLowerCase() === name.toLowerCase()) return language;
  return 'en';
}

export interface Texts {
  /** Of the words. */
  readonly language: string;
  say(name: keyof BellTexts, values?: { count?: string; from?: string; subject?: string }): string;
  number(count: number): string;
  /** How long ago; after a week, the day. Nothing for what is no time. */
  time(time: number): string;
  date(time: number): string;
}

export function createTexts(wanted: readonly string[], own: Partial<BellTexts>): Texts {
  const language = chooseLanguage(wanted);
  // As the page has it, such as en-GB.
  const locale = wanted.find((tag) => chooseLanguage([tag]) === language && isTag(tag)) ?? 'en';
  const texts: Texts = {
    language,
    say: (name, values = {}) =>
      // What a page brings may be anything.
      ([own[name], languages[language]?.[name]].find((text) => typeof text === 'string') ?? en[name]).replace(
        /\{(count|from|subject)\}/g,
        (all, key: 'count') => values[key] ?? all,
      ),
    number: (count) => count.toLocaleString(locale),
    time(time) {
      const minutes = Math.max(0, Math.round((Date.now() - time) / 60_000));
      const ago = new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' });
      if (minutes < 1) return ago.format(0, 'second');
      if (minutes < 60) return ago.format(-minutes, 'minute');
      if (minutes < 24 * 60) return ago.format(-Math.round(minutes / 60), 'hour');
      if (minutes < 7 * 24 * 60) return ago.format(-Math.round(minutes / 1440), 'day');
      return dateText(time, { dateStyle: 'medium' });
    },
    date: (time) => dateText(time, { dateStyle: 'medium', timeStyle: 'short' }),
  };
  const dateText = (time: number, style: Intl.DateTimeFormatOptions): string => {
    const date = new Date(time);
    return Number.isNaN(date.getTime()) ? '' : date.toLocaleString(locale, style);
  };
  return texts;
}

function isTag(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length > 0;
  } catch {
    return false;
  }
}
