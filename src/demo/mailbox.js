/**
 * The user's mails and which of them are read. An acknowledgement says "read up to here" for all the user's
 * devices; a mail read out of turn is remembered in this browser until the ones before it are read as well.
 */

/**
 * @typedef {{ epoch: string, offset: number, id: string }} Position
 * @typedef {{ key: string, from: string | undefined, subject: string, text: string, time: number, position: Position | undefined }} Mail
 */

const SUBJECT_LENGTH = 80;

/**
 * What was sent can be a mail, or anything else: then it is shown as one.
 * @param {{ data: unknown, position?: Position, id?: string, time?: number }} message
 * @returns {Mail}
 */
export function toMail({ data, position, id, time }) {
  const mail = { key: id ?? `transient-${Math.random()}`, time: time ?? Date.now(), position };
  if (typeof data === 'object' && data !== null && 'subject' in data) {
    const { from, subject, text } = /** @type {Record<string, unknown>} */ (data);
    return { ...mail, from: asText(from) || undefined, subject: asText(subject), text: asText(text) };
  }
  const text = data instanceof Uint8Array ? `[${data.length} bytes]` : asText(data);
  const line = text.trim().split('\n', 1)[0] ?? '';
  const subject = line.length > SUBJECT_LENGTH ? `${line.slice(0, SUBJECT_LENGTH - 1)}…` : line;
  return { ...mail, from: undefined, subject, text };
}

/** @param {unknown} value */
function asText(value) {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

export class Mailbox {
  /** Oldest first. @type {Mail[]} */
  mails = [];
  /** @type {Position | undefined} */
  #acked;
  /** Keys of mails read out of turn. @type {Set<string>} */
  #read;
  #storageKey;

  /** @param {string} user */
  constructor(user) {
    this.#storageKey = `tidings-demo:read:${user}`;
    try {
      this.#read = new Set(JSON.parse(localStorage.getItem(this.#storageKey) ?? '[]'));
    } catch {
      this.#read = new Set();
    }
  }

  /** False if it is here already. @param {Mail} mail */
  add(mail) {
    if (this.mails.some(({ key }) => key === mail.key)) return false;
    this.mails.push(mail);
    return true;
  }

  /** The store has lost mails: what it still has comes anew. */
  clear() {
    this.mails = [];
    this.#acked = undefined;
  }

  /** @param {Position | undefined} position */
  acked(position) {
    if (position === undefined) return;
    if (this.#acked?.epoch === position.epoch && this.#acked.offset >= position.offset) return;
    this.#acked = position;
    this.#tidy();
  }

  /** @param {Mail} mail */
  isRead({ key, position }) {
    const isAcked =
      position !== undefined &&
      this.#acked?.epoch === position.epoch &&
      position.offset <= this.#acked.offset;
    return isAcked || this.#read.has(key);
  }

  get unread() {
    return this.mails.filter((mail) => !this.isRead(mail)).length;
  }

  /** @param {Mail[]} mails @returns {Position | undefined} what can be acknowledged now */
  read(mails) {
    for (const { key } of mails) this.#read.add(key);
    const stored = this.mails.filter(({ position }) => position !== undefined);
    const firstUnread = stored.findIndex((mail) => !this.isRead(mail));
    const last = stored[(firstUnread < 0 ? stored.length : firstUnread) - 1]?.position;
    this.#tidy();
    const isNews = this.#acked?.epoch !== last?.epoch || (this.#acked?.offset ?? 0) < (last?.offset ?? 0);
    return isNews ? last : undefined;
  }

  #tidy() {
    for (const { key, position } of this.mails)
      if (
        position !== undefined &&
        this.#acked?.epoch === position.epoch &&
        position.offset <= this.#acked.offset
      )
        this.#read.delete(key);
    try {
      localStorage.setItem(this.#storageKey, JSON.stringify([...this.#read]));
    } catch {
      // Full or forbidden: read marks last as long as the page.
    }
  }
}
