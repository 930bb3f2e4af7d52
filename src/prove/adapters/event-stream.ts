/** The lines of `text/event-stream` as events, by the rules of the HTML standard. */

export interface StreamEvent {
  /** Default `message`. */
  type: string;
  data: string;
}

/** Characters of an event that is not complete. */
const MOST = 8 * 1024 * 1024;

export class EventStream {
  /** The last id that the server has given, for `Last-Event-ID`. */
  lastId: string;
  /** Milliseconds that the server wants to pass before the next attempt. */
  retry: number | undefined;
  readonly #onEvent: (event: StreamEvent) => void;
  #rest = '';
  #isFirst = true;
  /** The last character was a CR, whose line has ended: an LF behind it belongs to it. */
  #isAfterReturn = false;
  #type = '';
  #data: string[] = [];
  #dataSize = 0;
  #id: string;

  /** @param lastId of the connection before */
  constructor(lastId: string, onEvent: (event: StreamEvent) => void) {
    this.lastId = lastId;
    this.#id = lastId;
    this.#onEvent = onEvent;
  }

  /**
   * Takes the next characters. What stands behind the last empty line never becomes an event.
   *
   * @throws {RangeError} where an event does not end
   */
  push(text: string): void {
    if (text === '') return;
    let news = text;
    if (this.#isFirst && news.startsWith('\uFEFF')) news = news.slice(1);
    this.#isFirst = false;
    if (this.#isAfterReturn && news.startsWith('\n')) news = news.slice(1);
    this.#isAfterReturn = text.endsWith('\r');
    const lines = (this.#rest + news).split(/\r\n|\n|\r/);
    this.#rest = lines.pop()!;
    for (const line of lines) this.#line(line);
    if (this.#rest.length + this.#dataSize > MOST) throw new RangeError('an event has no end');
  }

  #line(line: string): void {
    if (line === '') {
      this.#dispatch();
      return;
    }
    const [, field, value] = /^([^:]*)(?:: ?)?(.*)$/s.exec(line) as unknown as [string, string, string];
    if (field === 'data') {
      this.#data.push(value);
      this.#dataSize += value.length + 1;
    } else if (field === 'event') this.#type = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
  }

  #dispatch(): void {
    this.lastId = this.#id;
    const event = { type: this.#type || 'message', data: this.#data.join('\n') };
    const isEmpty = this.#data.length === 0;
    this.#type = '';
    this.#data = [];
    this.#dataSize = 0;
    if (!isEmpty) this.#onEvent(event);
  }
}
