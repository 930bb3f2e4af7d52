/**
 * What rings in PostgreSQL: stored messages, acknowledgements, marks, and what is only handed on. A notification has less
 * than 8,000 bytes, so a larger message is rung for by its place, and read.
 */
import { Queue } from '../../queue.ts';
import type { PostgresLink } from '../postgres/link.ts';
import { fromText } from '../postgres/text.ts';
import type { Cursor, LogPage, StoredMessage } from './broker.ts';
import type { Marked } from './marks.ts';
import { kindOf } from './postgres-letters.ts';
import { decodeMarked } from './postgres-marks.ts';

/** Bells of one channel that wait for a message that has to be read. With more of them, all is read anew. */
const MAX_WAITING = 1000;

/** What the bells are about. */
export interface Ears {
  /** Whether it is subscribed to. */
  has(channel: string): boolean;
  transient(channel: string, payload: Buffer): void;
  acknowledged(cursor: Cursor): void;
  message(message: StoredMessage): void;
  marked(channel: string, marked: Marked): void;
  /** Messages may be missing: the log is to be read. */
  missed(channel: string): void;
  read(channel: string, offset: number, limit: number): Promise<LogPage>;
  look(channel: string): Promise<Marked>;
  /** Something that came could not be handled. */
  failed(channel: string, error: unknown): void;
}

export class PostgresDoorbells {
  readonly #ears: Ears;
  /** By channel: what is to be done once a message was read. */
  readonly #waiting = new Map<string, Queue<() => void | Promise<void>>>();
  /** By channel: a payload of which not all parts have come yet. */
  readonly #partial = new Map<string, { id: string; parts: string[] }>();

  constructor(link: Pick<PostgresLink, 'hear'>, ears: Ears) {
    this.#ears = ears;
    const about = (
      word: string,
      handle: (channel: string, rest: string) => void | Promise<void>,
      isInOrder = true,
    ): void =>
      link.hear(word, (payload) => {
        const line = payload.indexOf('\n');
        const channel = unescaped(line === -1 ? payload : payload.slice(0, line));
        if (!ears.has(channel)) return;
        const rest = line === -1 ? '' : payload.slice(line + 1);
        if (isInOrder) this.#inOrder(channel, () => handle(channel, rest));
        else this.#now(channel, () => handle(channel, rest));
      });
    about('m', (channel, rest) => this.#message(channel, rest));
    about('M', (channel, rest) => this.#place(channel, rest));
    about('s', (channel, rest) => this.#marks(channel, rest));
    about('a', (channel, rest) => this.#acknowledged(channel, rest));
    about('t', (channel, rest) => this.#transient(channel, rest));
  }

  /** Something may have been missed: of what came in parts, the rest does not come. */
  lost(): void {
    this.#partial.clear();
  }

  #now(channel: string, work: () => void | Promise<void>): void | Promise<void> {
    const failed = (error: unknown): void => this.#ears.failed(channel, error);
    try {
      const working = work();
      return working === undefined ? undefined : working.catch(failed);
    } catch (error) {
      // Anybody may notify anything: it ends no process, not even by a fault of the listener's.
      failed(error);
    }
  }

  /** Behind the message that is read, if there is one. */
  #inOrder(channel: string, work: () => void | Promise<void>): void {
    const waiting = this.#waiting.get(channel);
    if (waiting !== undefined) {
      if (waiting.length < MAX_WAITING) {
        waiting.add(work);
        return;
      }
      waiting.clear();
      this.#ears.missed(channel);
      return;
    }
    const working = this.#now(channel, work);
    if (working !== undefined) void this.#workOff(channel, working);
  }

  async #workOff(channel: string, first: Promise<void>): Promise<void> {
    const waiting: Queue<() => void | Promise<void>> = new Queue();
    this.#waiting.set(channel, waiting);
    await first;
    for (let next = waiting.take(); next !== undefined; next = waiting.take()) await this.#now(channel, next);
    this.#waiting.delete(channel);
  }

  #message(channel: string, rest: string): void {
    const [epoch, offset, id, time, letter, expires, trace, bytes] = rest.split(' ');
    const kind = kindOf(letter);
    if (bytes === undefined || kind === undefined || kind === 'gone') {
      this.#ears.missed(channel);
      return;
    }
    const payload = Buffer.from(bytes, 'base64');
    const message: StoredMessage = {
      channel,
      epoch: epoch!,
      offset: Number(offset),
      id: id!,
      time: Number(time),
      kind,
      payload,
    };
    if (expires !== '-') message.expires = Number(expires);
    if (trace !== '-') message.trace = trace!;
    this.#ears.message(message);
  }

  /** A message that is too large for a bell. */
  async #place(channel: string, rest: string): Promise<void> {
    const [epoch, number, id] = rest.split(' ');
    const offset = Number(number);
    let found: StoredMessage | undefined;
    try {
      const { messages, top } = await this.#ears.read(channel, offset - 1, 1);
      if (top.epoch === epoch && messages[0]?.id === id) found = messages[0];
    } catch {
      // Its log says so, too, when it is read.
    }
    if (!this.#ears.has(channel)) return;
    // What is gone by now was a message when it was rung for: the log says so.
    if (found === undefined || found.kind === 'gone') this.#ears.missed(channel);
    else this.#ears.message(found);
  }

  #marks(channel: string, rest: string): void | Promise<void> {
    const marked = rest === '' ? undefined : decodeMarked(rest);
    if (marked !== undefined) {
      this.#ears.marked(channel, marked);
      return;
    }
    return this.#ears.look(channel).then(
      (looked) => {
        if (this.#ears.has(channel)) this.#ears.marked(channel, looked);
      },
      () => this.#ears.missed(channel),
    );
  }

  #acknowledged(channel: string, rest: string): void {
    const [epoch, offset, id] = rest.split(' ', 3);
    const device = rest.slice(`${epoch} ${offset} ${id} `.length);
    if (id === undefined || !Number.isSafeInteger(Number(offset))) return;
    this.#ears.acknowledged({
      channel,
      device: fromText(device),
      position: { epoch: epoch!, offset: Number(offset), id },
    });
  }

  /** Parts of one come one behind the other, as they are rung in one transaction. */
  #transient(channel: string, rest: string): void {
    const [id, part, parts, bytes] = rest.split(' ');
    if (bytes === undefined) return;
    if (part === '1') this.#partial.set(channel, { id: id!, parts: [] });
    const partial = this.#partial.get(channel);
    if (partial?.id !== id || partial?.parts.length !== Number(part) - 1) return;
    partial.parts.push(bytes);
    if (part !== parts) return;
    this.#partial.delete(channel);
    this.#ears.transient(channel, Buffer.from(partial.parts.join(''), 'base64'));
  }
}

/** As tidings.escaped has it. */
function unescaped(name: string): string {
  const text = name.includes('\\')
    ? name.replace(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter))
    : name;
  return fromText(text);
}
