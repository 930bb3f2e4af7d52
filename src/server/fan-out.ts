/**
 * One message to many connections. All messages that go to the same audience within a turn of the event
 * loop are joined once, and every connection gets the one shared buffer in one write. What a connection is
 * sent on its own in between keeps its place.
 */
import { RSV1 } from '../protocol/frame-writer.ts';
import type { PreparedMessage } from './prepared-message.ts';
import { fanOutAtEndOfTurn, isLastTurn } from './tick.ts';

/** Frames that many connections are sent: nobody changes them. */
export interface SharedFrames {
  readonly bytes: Buffer;
  /** How many there are. */
  readonly count: number;
  /** The last message among them that was compressed, before that; null for none. */
  readonly lastCompressed: Buffer | null;
}

/** What a batch needs of a connection. */
export interface Member {
  /** Which encoding of a message it takes: 0 is plain, others are kinds of compression. */
  readonly wireForm: number;
  /** Takes shared frames: `now` they are written, otherwise with what the connection sends next. */
  takeShared(shared: SharedFrames, now: boolean): void;
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
    if (batch.bytes >= BATCH_BYTES || isLastTurn) deliverOpen();
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
    const all: (SharedFrames | undefined)[] = [];
    const to = this.#messages.length;
    const progress = this.#progress;
    for (const member of this.audience.members) {
      const from = progress === null ? 0 : (progress.get(member) ?? 0);
      if (from >= to) continue;
      const form = member.wireForm;
      let frames: SharedFrames | undefined;
      if (from === 0) {
        frames = all[form];
        if (frames === undefined) all[form] = frames = this.#join(form, 0);
      } else {
        frames = this.#join(form, from);
      }
      member.takeShared(frames, now);
    }
  }

  #join(form: number, from: number): SharedFrames {
    const messages = this.#messages;
    if (messages.length - from === 1) return shareFrame(messages[from]!, form, this.#encode);
    const frames: Buffer[] = [];
    let lastCompressed: Buffer | null = null;
    for (let i = from; i < messages.length; i++) {
      const frame = this.#encode(messages[i]!, form);
      frames.push(frame);
      if (isCompressed(frame)) lastCompressed = messages[i]!.payload;
    }
    return { bytes: Buffer.concat(frames), count: frames.length, lastCompressed };
  }
}

/** One message as a connection of this wire form takes it. */
export function shareFrame(message: PreparedMessage, form: number, encode: Encode): SharedFrames {
  const bytes = encode(message, form);
  return { bytes, count: 1, lastCompressed: isCompressed(bytes) ? message.payload : null };
}

function isCompressed(frame: Buffer): boolean {
  return (frame[0]! & RSV1) !== 0;
}
