/** What the memory broker keeps of one channel: its log, and what belongs to it. */
import { steadyNow } from '../../clock.ts';
import type { PayloadKind, Position, Receipt, StoredMessage } from './broker.ts';
import { newEpoch } from './epochs.ts';
import { messageId } from './random-id.ts';

/** How long the epoch and offset of a channel outlive its last use, so that positions stay comparable. */
export const IDLE_CHANNEL_TTL = 30 * 24 * 60 * 60 * 1000;

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
  lastUsed = steadyNow();
  /** Oldest first; those before `head` are trimmed. Offsets in it are contiguous. */
  #messages: StoredMessage[] = [];
  #head = 0;
  receipts: Map<string, { receipt: Receipt; expires: number }> | undefined;
  cursors: Map<string, StoredCursor> | undefined;

  constructor(name: string, origin: string) {
    this.name = name;
    this.epoch = newEpoch(origin, steadyNow() - IDLE_CHANNEL_TTL);
  }

  get top(): Position {
    return { epoch: this.epoch, offset: this.offset, id: this.id };
  }

  get first(): number {
    return this.offset - (this.#messages.length - this.#head) + 1;
  }

  append(kind: PayloadKind, payload: Buffer): StoredMessage {
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
    this.#messages.push(message);
    return message;
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
  }

  at(offset: number): StoredMessage | undefined {
    if (offset < this.first || offset > this.offset) return undefined;
    return this.#messages[this.#head + offset - this.first];
  }
}

/** Stands in a log's array for a trimmed message until the array is compacted. */
const TRIMMED: StoredMessage = {
  channel: '',
  epoch: '',
  offset: 0,
  id: '',
  time: 0,
  kind: 'binary',
  payload: Buffer.alloc(0),
};
