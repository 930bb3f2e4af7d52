/** What becomes of messages, in the simplest way: a record for each, and everything counted anew whenever it is asked. */
import type { Position } from '../../../src/pubsub/store/broker.ts';
import { type Counts, includes, type Mark, type Marks } from '../../../src/pubsub/store/marks.ts';

export type State = string;

/** `'read, archived'` */
export function stateOf({ seen, read, archived, gone }: Marks, offset: number): State {
  if (includes(gone, offset)) return 'gone';
  const state = includes(read, offset) ? 'read' : includes(seen, offset) ? 'seen' : 'unseen';
  return includes(archived, offset) ? `${state}, archived` : state;
}

export function said({ unseen, unread, all }: Counts): string {
  return `${unseen} unseen, ${unread} unread, ${all} in all`;
}

interface Message extends Position {
  payload: string;
  time: number;
  key: string | undefined;
  expires: number;
  isSeen: boolean;
  isRead: boolean;
  isArchived: boolean;
  isGone: boolean;
}

export class InboxModel {
  messages: Message[] = [];
  /** How many changes there were. */
  changes = 0;

  /** As the store has stored it, with the retention that was asked for. */
  add(
    position: Position,
    payload: string,
    time: number,
    { most, replaces, ttl }: { most: number; replaces?: string | undefined; ttl?: number | undefined },
  ): void {
    this.top = position;
    this.messages.push({
      ...position,
      payload,
      time,
      key: replaces,
      expires: ttl === undefined ? Number.POSITIVE_INFINITY : time + ttl,
      isSeen: false,
      isRead: false,
      isArchived: false,
      isGone: false,
    });
    this.messages = this.messages.slice(-most);
    if (replaces === undefined) return;
    const former = this.messages.findLast(
      (message) => message.key === replaces && message.offset < position.offset,
    );
    this.#take(former === undefined ? [] : [former]);
  }

  /** Time has passed, and somebody looks. */
  look(now: number, age = Number.POSITIVE_INFINITY): void {
    this.messages = this.messages.filter(({ time }) => time > now - age);
    this.#take(this.messages.filter(({ expires }) => expires <= now));
  }

  /** How many it has changed. */
  mark({ as, upTo, messages }: Mark): number {
    const isNamed = (message: Message): boolean => {
      const named = messages ?? (upTo === undefined ? undefined : [upTo]);
      if (named === undefined) return true;
      return named.some(
        ({ epoch, offset, id }) => epoch === message.epoch && offset === message.offset && id === message.id,
      );
    };
    let about = this.messages.filter(isNamed);
    if (messages === undefined && upTo !== undefined && about.length > 0) {
      about = this.messages.filter(({ offset }) => offset <= upTo.offset);
    }
    about = about.filter(({ isGone }) => !isGone);
    if (as === 'deleted') return this.#take(about);
    let changed = 0;
    for (const message of about) {
      const before = show(message);
      if (as === 'seen' || as === 'read') message.isSeen = true;
      if (as === 'read') message.isRead = true;
      if (as === 'unread') message.isRead = false;
      if (as === 'archived') message.isArchived = true;
      if (as === 'unarchived') message.isArchived = false;
      if (show(message) !== before) changed++;
    }
    if (changed > 0) this.changes++;
    return changed;
  }

  remove(which: { position: Position } | { key: string }): boolean {
    const found = this.messages.findLast((message) =>
      'key' in which
        ? message.key === which.key
        : message.epoch === which.position.epoch &&
          message.offset === which.position.offset &&
          message.id === which.position.id,
    );
    return found !== undefined && this.#take([found]) > 0;
  }

  /** The newest message there is, also where it is not kept any more. */
  top: Position | undefined;

  clear(): void {
    this.messages = [];
    this.top = undefined;
  }

  /** The store has come back with what it was at that time. */
  restore({ messages, top }: InboxModel): void {
    this.messages = messages.map((message) => ({ ...message }));
    this.top = top;
  }

  clone(): InboxModel {
    const copy = new InboxModel();
    copy.restore(this);
    return copy;
  }

  /** The log has another epoch now. */
  epoch(epoch: string): void {
    if (this.top !== undefined) this.top = { ...this.top, epoch };
    for (const message of this.messages) message.epoch = epoch;
  }

  /** The moments at which something expires or becomes too old. */
  boundaries(age: number): number[] {
    return this.messages.flatMap(({ time, expires, isGone }) => [time + age, ...(isGone ? [] : [expires])]);
  }

  get states(): State[] {
    return this.messages.map(show);
  }

  /** States and counts, as text. */
  get shown(): string {
    let shown = '';
    for (const message of this.messages) shown += `${message.offset} ${show(message)}, `;
    return shown + said(this.counts);
  }

  get counts(): Counts {
    const shown = this.messages.filter(({ isGone, isArchived }) => !isGone && !isArchived);
    return {
      unseen: shown.filter(({ isSeen }) => !isSeen).length,
      unread: shown.filter(({ isRead }) => !isRead).length,
      all: shown.length,
    };
  }

  /** `offset payload`, an empty one of what is gone. */
  get log(): string[] {
    return this.messages.map(({ offset, payload, isGone }) => `${offset} ${isGone ? 'gone' : payload}`);
  }

  #take(which: Message[]): number {
    const taken = which.filter(({ isGone }) => !isGone);
    for (const message of taken) message.isGone = true;
    if (taken.length > 0) this.changes++;
    return taken.length;
  }
}

function show({ isGone, isRead, isSeen, isArchived }: Message): State {
  if (isGone) return 'gone';
  const state = isRead ? 'read' : isSeen ? 'seen' : 'unseen';
  return isArchived ? `${state}, archived` : state;
}
