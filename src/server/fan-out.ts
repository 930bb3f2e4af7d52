/**
 * One message to many connections. All messages that go to the same audience within a turn of the event
 * loop are joined once, and every connection gets the one shared buffer in one write. What a connection is
 * sent on its own in between keeps its place.
 */
import type { PreparedMessage } from './prepared-message.ts';
import { fanOutAtEndOfTurn } from './tick.ts';

/** What a batch needs of a connection. */
export interface Member {
  /** Which encoding of a message it takes: 0 is plain, others are kinds of compression. */
  readonly wireForm: number;
  /** Takes shared frames: `now` they are written, otherwise with what the connection sends next. */
  takeShared(frames: Buffer, now: boolean): void;
}

/** Encodes a message as a wire form asks. */
export type Encode = (message: PreparedMessage, wireForm: number) => Buffer;

/** A batch that is this long is written without waiting for the end of the turn. */
const BATCH_BYTES = 64 * 1024;

let open: Batch | null = null;

/** Before `member` is sent something of its own: hands it what it is still owed. */
export function catchUp(member: Member): void {
  if (open !== null) open.catchUp(member);
}

/** The connections that a message goes to: all of a server's, or a topic's. */
export class Audience {
  readonly members = new Set<Member>();
  readonly #encode: Encode;

  constructor(encode: Encode) {
    this.#encode = encode;
  }

  add(member: Member): void {
    if (this.members.has(member)) return;
    this.members.add(member);
    // It was not there when the batch's messages were published.
    if (open !== null && open.audience === this) open.skipTo(member, open.length);
  }

  delete(member: Member): void {
    if (open !== null && open.audience === this) open.catchUp(member);
    this.members.delete(member);
  }

  /** @param exclude those that don't get it; undefined for none */
  publish(message: PreparedMessage, exclude?: readonly Member[]): void {
    if (this.members.size === 0) return;
    if (open === null || open.audience !== this) {
      if (open !== null) open.deliver(false);
      open = new Batch(this, this.#encode);
      fanOutAtEndOfTurn(deliverOpen);
    }
    const batch = open;
    if (exclude !== undefined) {
      for (const member of exclude) {
        batch.catchUp(member);
        batch.skipTo(member, batch.length + 1);
      }
    }
    batch.append(message);
    if (batch.bytes >= BATCH_BYTES) deliverOpen();
  }
}

function deliverOpen(): void {
  if (open !== null) open.deliver(true);
}

class Batch {
  readonly audience: Audience;
  readonly #encode: Encode;
  readonly #messages: PreparedMessage[] = [];
  bytes = 0;
  /** How far those are that can't be given the whole batch: the index of the first message due to them. */
  #progress: Map<Member, number> | null = null;

  constructor(audience: Audience, encode: Encode) {
    this.audience = audience;
    this.#encode = encode;
  }

  get length(): number {
    return this.#messages.length;
  }

  append(message: PreparedMessage): void {
    this.#messages.push(message);
    this.bytes += message.payload.length;
  }

  skipTo(member: Member, index: number): void {
    this.#progress ??= new Map();
    this.#progress.set(member, index);
  }

  catchUp(member: Member): void {
    if (!this.audience.members.has(member)) return;
    const from = this.#progress?.get(member) ?? 0;
    const to = this.#messages.length;
    if (from >= to) return;
    this.skipTo(member, to);
    member.takeShared(this.#join(member.wireForm, from), false);
  }

  /** Hands everybody what is due. After that the batch is over. */
  deliver(now: boolean): void {
    // First of all, as a member may send or leave while it is handed its share.
    open = null;
    const all: (Buffer | undefined)[] = [];
    const to = this.#messages.length;
    const progress = this.#progress;
    for (const member of this.audience.members) {
      const from = progress === null ? 0 : (progress.get(member) ?? 0);
      if (from >= to) continue;
      const form = member.wireForm;
      let frames: Buffer | undefined;
      if (from === 0) {
        frames = all[form];
        if (frames === undefined) all[form] = frames = this.#join(form, 0);
      } else {
        frames = this.#join(form, from);
      }
      member.takeShared(frames, now);
    }
  }

  #join(form: number, from: number): Buffer {
    const messages = this.#messages;
    if (messages.length - from === 1) return this.#encode(messages[from]!, form);
    const frames: Buffer[] = [];
    for (let i = from; i < messages.length; i++) frames.push(this.#encode(messages[i]!, form));
    return Buffer.concat(frames);
  }
}
