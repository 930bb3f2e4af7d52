/** What the memory broker keeps of one channel: its log, and what belongs to it. */
import { steadyNow } from '../../clock.ts';
import { DEFAULT_IDLE_CHANNEL_TTL } from './bounds.ts';
import type { PayloadKind, Position, PublishOptions, Receipt, StoredMessage } from './broker.ts';
import { newEpoch } from './epochs.ts';
import {
  ANY_NUMBER,
  applied,
  type Changed,
  expiryOf,
  type Mark,
  type Marked,
  NO_MARKS,
  type Ranges,
  type Removal,
  rangesOf,
  targetOf,
  withGone,
  without,
  withoutOld,
} from './marks.ts';
import { MemoryLives } from './memory-lives.ts';
import { messageId, randomId } from './random-id.ts';

interface StoredCursor {
  position: Position;
  expires: number;
}

/** One channel's log and what belongs to it. */
export class MemoryChannel {
  readonly name: string;
  readonly epoch: string;
  offset = 0;
  id = '';
  time = 0;
  maxAge = Number.POSITIVE_INFINITY;
  most = ANY_NUMBER;
  lastUsed = steadyNow();
  /** Oldest first; those before `head` are trimmed. Offsets in it are contiguous. */
  #messages: StoredMessage[] = [];
  #head = 0;
  receipts: Map<string, { receipt: Receipt; expires: number }> | undefined;
  cursors: Map<string, StoredCursor> | undefined;
  #marks = NO_MARKS;
  #lives: MemoryLives | undefined;

  constructor(name: string, origin: string) {
    this.name = name;
    this.epoch = newEpoch(origin, steadyNow() - DEFAULT_IDLE_CHANNEL_TTL);
  }

  get top(): Position {
    return { epoch: this.epoch, offset: this.offset, id: this.id };
  }

  get first(): number {
    return this.offset - (this.#messages.length - this.#head) + 1;
  }

  /** Whether the message has replaced another one, and so changed the marks. */
  append(kind: PayloadKind, payload: Buffer, options: PublishOptions): [StoredMessage, hasReplaced: boolean] {
    const { retention, ttl, replaces, trace } = options;
    // A clock that steps back must not make a younger message look older than its elders.
    this.time = Math.max(this.time, Date.now());
    this.offset++;
    this.id = messageId();
    const message: StoredMessage = {
      channel: this.name,
      epoch: this.epoch,
      offset: this.offset,
      id: this.id,
      time: this.time,
      kind,
      payload,
    };
    const expires = expiryOf(this.time, ttl);
    if (expires !== undefined) message.expires = expires;
    if (trace !== undefined) message.trace = trace;
    this.#messages.push(message);
    this.maxAge = retention.maxAge;
    this.most = Math.max(1, Math.min(Math.floor(retention.maxMessages), ANY_NUMBER));
    this.trim(this.most);
    if (expires === undefined && replaces === undefined) return [message, false];
    this.#lives ??= new MemoryLives();
    const former = replaces === undefined ? undefined : this.#lives.offsetOf(replaces);
    this.#lives.add(this.offset, replaces, expires);
    return [message, former !== undefined && this.#takeAway([[former, former]])];
  }

  trim(maxMessages: number): void {
    const oldest = Date.now() - this.maxAge;
    const messages = this.#messages;
    let head = Math.max(this.#head, messages.length - maxMessages);
    while (head < messages.length && messages[head]!.time <= oldest) head++;
    this.#head = head;
    if (head > 64 && head * 2 > messages.length) {
      this.#messages = messages.slice(head);
      this.#head = 0;
    } else {
      // The array keeps its length until the next compaction; the payloads need not wait for it.
      for (let i = head - 1; i >= 0 && messages[i] !== TRIMMED; i--) messages[i] = TRIMMED;
    }
    this.#lives?.trim(this.first);
  }

  at(offset: number): StoredMessage | undefined {
    if (offset < this.first || offset > this.offset) return undefined;
    return this.#messages[this.#head + offset - this.first];
  }

  idAt(offset: number): string | undefined {
    return this.at(offset)?.id;
  }

  /** Lets go what is too old, and takes away what has expired. Whether that has changed the marks. */
  refresh(): boolean {
    this.trim(Number.POSITIVE_INFINITY);
    const due = this.#lives?.due(Date.now()) ?? [];
    return due.length > 0 && this.#takeAway(rangesOf(due));
  }

  get marked(): Marked {
    const { first, top, most } = this;
    const next = Math.min(
      this.#lives?.next ?? Number.POSITIVE_INFINITY,
      (this.at(first)?.time ?? Number.POSITIVE_INFINITY) + this.maxAge,
    );
    const marks = next === Number.POSITIVE_INFINITY ? this.#marks : { ...this.#marks, next };
    return { marks, top, first, most };
  }

  /** How many messages it has changed. */
  mark(mark: Mark): number {
    const target = targetOf(mark, this);
    return this.#change(applied(this.#marks, mark.as, target, this.first));
  }

  /** Whether there was such a message. */
  remove(which: Removal): boolean {
    if ('key' in which) {
      const offset = this.#lives?.offsetOf(which.key);
      return offset !== undefined && this.#takeAway([[offset, offset]]);
    }
    return this.#takeAway(targetOf({ as: 'deleted', messages: [which.position] }, this));
  }

  /** For a log that nothing was kept of for long. */
  tidy(): void {
    this.trim(Number.POSITIVE_INFINITY);
    this.#marks = withoutOld(this.#marks, this.first);
  }

  /** Whether that has changed the marks: not where all of them are trimmed, or gone already. */
  #takeAway(which: Ranges): boolean {
    return this.#change(withGone(this.#marks, which, this.first)) > 0;
  }

  #change({ marks, changed }: Changed): number {
    if (changed === 0) return 0;
    const { epoch, offset } = marks.version;
    const version = { epoch: epoch || randomId(6), offset: offset + 1, id: messageId() };
    for (const [first, last] of without(marks.gone, this.#marks.gone)) {
      for (let gone = first; gone <= last; gone++) this.#erase(gone);
    }
    this.#marks = { ...marks, version };
    return changed;
  }

  #erase(offset: number): void {
    const { expires: _, trace: __, ...kept } = this.at(offset)!;
    // Another object: listeners have the one that was there.
    this.#messages[this.#head + offset - this.first] = { ...kept, kind: 'gone', payload: NO_PAYLOAD };
    this.#lives?.delete(offset);
  }
}

const NO_PAYLOAD = Buffer.alloc(0);

/** Stands in a log's array for a trimmed message until the array is compacted. */
const TRIMMED: StoredMessage = {
  channel: '',
  epoch: '',
  offset: 0,
  id: '',
  time: 0,
  kind: 'binary',
  payload: NO_PAYLOAD,
};
