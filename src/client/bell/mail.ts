/** What a message's data is shown as. Data is anything that a program has sent: nothing of it is believed. */

/** A message as it is read: all of it plain text. */
export interface Mail {
  /** One line of at most 500 characters. */
  subject: string;
  /** At most 20,000 characters; empty where there is none. */
  text: string;
  /** Who sent it; empty where nobody is named. */
  from: string;
  /** Where it leads, checked: an address of http or https. */
  href?: string;
}

/** Characters: of a line, and of all that is shown of a text. */
const MAX_LINE = 500;
const MAX_TEXT = 20_000;

/** Controls but tab and line feed; and what turns the direction of the text around it, which each of our elements has. */
const UNSEEN = /[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

const KNOWN = ['subject', 'title', 'text', 'body', 'from', 'href'];

/**
 * - An object: `subject` (or `title`), `text` (or `body`), `from` and `href`.
 * - Anything else: its text, the first line of which is the subject.
 */
export function mailOf(data: unknown): Mail {
  const fields = (isObject(data) ? data : { text: data }) as Record<string, unknown>;
  let subject = asText(fields['subject'] ?? fields['title']);
  let text = asText(fields['text'] ?? fields['body']);
  // Nothing that is known: all there is, so that nobody misses it.
  if (isObject(data) && !KNOWN.some((name) => name in data)) text = asText(data, true).replace(/^\{\}$/, '');
  if (subject === '') {
    subject = text.trim().split('\n', 1)[0] ?? '';
    // A text of one line is its subject.
    if (subject.length <= MAX_LINE && subject === text.trim()) text = '';
  }
  const href = safeLink(fields['href']);
  return {
    subject: cut(subject, MAX_LINE),
    text,
    from: cut(asText(fields['from']), MAX_LINE),
    ...(href && { href }),
  };
}

/** A page's own reading of the data in place of ours, as far as it says anything: checked alike, as it comes from there. */
export function withOwn(mail: Mail, own: Partial<Mail>): Mail {
  const { href, ...result } = mail;
  for (const name of ['subject', 'text', 'from'] as const)
    if (typeof own[name] === 'string')
      result[name] = cut(asText(own[name]), name === 'text' ? MAX_TEXT : MAX_LINE);
  const link = 'href' in own ? safeLink(own.href) : href;
  return { ...result, ...(link && { href: link }) };
}

/** Its address where it is http or https, relative to the page or not; else nothing. */
export function safeLink(href: unknown): string | undefined {
  if (typeof href !== 'string' || href === '') return undefined;
  try {
    const url = new URL(href, document.baseURI);
    return /^https?:$/.test(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** Not in the middle of a character. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

function isObject(data: unknown): data is object {
  return typeof data === 'object' && data !== null && !Array.isArray(data) && !ArrayBuffer.isView(data);
}

function asText(value: unknown, isDeep = !isObject(value)): string {
  let text = '';
  if (typeof value === 'string') text = value;
  else if (ArrayBuffer.isView(value)) text = `[${value.byteLength} bytes]`;
  else if (value !== undefined && value !== null && isDeep) {
    try {
      text = JSON.stringify(value) ?? String(value);
    } catch {
      // Of a client of the page's own: it can't be shown.
    }
  }
  return cut(text.replace(UNSEEN, ''), MAX_TEXT);
}
