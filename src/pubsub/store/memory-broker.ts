/**
 * The broker within one process: logs in memory, gone when the process ends. Push servers of one process
 * that should act as one share a `MemoryStore`; each has a broker of its own over it.
 */
import { clearInterval, queueMicrotask, setInterval, steadyNow } from '../../clock.ts';
import type { Attendance } from './attendance.ts';
import { DEFAULT_IDEMPOTENCY_WINDOW, DEFAULT_IDLE_CHANNEL_TTL, MAX_DEVICES, PAGE_BYTES } from './bounds.ts';
import type {
  Broker,
  BrokerListener,
  Cursor,
  LogPage,
  Opening,
  PayloadKind,
  Position,
  PresenceEntry,
  PublishOptions,
  Receipt,
  StoredMessage,
} from './broker.ts';
import type { ControlLog } from './control.ts';
import { newOrigin, unusedEpoch } from './epochs.ts';
import { ANY_NUMBER, checkLife, checkMark, type Mark, type Marked, NO_MARKS, type Removal } from './marks.ts';
import { MemoryChannel } from './memory-channel.ts';
import { MemoryCommands, MemoryControl } from './memory-control.ts';
import { MemoryPresence } from './memory-presence.ts';
import { MemorySchedule } from './memory-schedule.ts';
import { BELL, type Schedule } from './schedule.ts';

/** How often what has expired is looked for. */
const SWEEP_INTERVAL = 30_000;

/** The logs, cursors and presence that the memory brokers of one process share. */
export class MemoryStore {
  readonly #channels = new Map<string, MemoryChannel>();
  readonly #origin = newOrigin();
  /** @internal */
  readonly presence = new MemoryPresence();
  readonly #brokers = new Set<MemoryBroker>();
  /** @internal */
  readonly commands = new MemoryCommands();
  /** @internal */
  readonly schedule = new MemorySchedule(() => this.notify(BELL, Buffer.alloc(0)));
  #sweeper: NodeJS.Timeout | undefined;

  /** @internal */
  attach(broker: MemoryBroker): void {
    this.#brokers.add(broker);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_INTERVAL).unref();
  }

  /** @internal */
  detach(broker: MemoryBroker): void {
    this.#brokers.delete(broker);
    this.presence.leave(broker);
    if (this.#brokers.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  /** @internal */
  publish(name: string, kind: PayloadKind, payload: Buffer, options: PublishOptions): Receipt {
    const channel = this.#channel(name);
    const key = options.idempotencyKey;
    const now = steadyNow();
    if (key !== undefined) {
      const known = channel.receipts?.get(key);
      if (known !== undefined && known.expires > now) return { ...known.receipt, duplicate: true };
    }
    // A copy: the caller's bytes may be a view of a buffer that is read into again.
    const [message, hasReplaced] = channel.append(kind, Buffer.from(payload), options);
    const receipt: Receipt = {
      channel: name,
      epoch: message.epoch,
      offset: message.offset,
      id: message.id,
      duplicate: false,
    };
    if (key !== undefined) {
      channel.receipts ??= new Map();
      const expires = now + (options.idempotencyWindow ?? DEFAULT_IDEMPOTENCY_WINDOW);
      channel.receipts.set(key, { receipt, expires });
    }
    for (const broker of this.#brokers) broker.ring(name, message, MESSAGE);
    if (hasReplaced) this.#ringMarked(channel);
    return receipt;
  }

  /** @internal */
  notify(name: string, payload: Buffer): void {
    const copy = Buffer.from(payload);
    for (const broker of this.#brokers) broker.ring(name, copy, TRANSIENT);
  }

  /** @internal */
  read(name: string, offset: number, limit: number): LogPage {
    const channel = this.#channels.get(name);
    if (channel === undefined) return { messages: [], top: this.#unused(), first: 1 };
    this.#look(channel);
    const first = channel.first;
    const messages: StoredMessage[] = [];
    let bytes = 0;
    for (let next = Math.max(offset + 1, first); messages.length < limit && bytes < PAGE_BYTES; next++) {
      const message = channel.at(next);
      if (message === undefined) break;
      messages.push(message);
      bytes += message.payload.length;
    }
    return { messages, top: channel.top, first };
  }

  /** @internal */
  mark(name: string, mark: Mark): Marked & { changed: number } {
    checkMark(mark);
    const channel = this.#channels.get(name);
    if (channel === undefined) return { ...this.marks(name), changed: 0 };
    this.#look(channel);
    const changed = channel.mark(mark);
    if (changed > 0) this.#ringMarked(channel);
    return { ...channel.marked, changed };
  }

  /** @internal */
  marks(name: string): Marked {
    const channel = this.#channels.get(name);
    if (channel === undefined) return { marks: NO_MARKS, top: this.#unused(), first: 1, most: ANY_NUMBER };
    this.#look(channel);
    return channel.marked;
  }

  /** @internal */
  remove(name: string, which: Removal): boolean {
    const channel = this.#channels.get(name);
    if (channel === undefined) return false;
    this.#look(channel);
    if (!channel.remove(which)) return false;
    this.#ringMarked(channel);
    return true;
  }

  /** @internal */
  top(name: string): Position {
    return this.#channels.get(name)?.top ?? { epoch: '', offset: 0, id: '' };
  }

  /** @internal */
  acknowledge(cursor: Cursor, ttl: number): void {
    const channel = this.#channels.get(cursor.channel);
    const { position, device } = cursor;
    if (position.epoch !== channel?.epoch || position.offset > channel.offset) return;
    const there = channel.at(position.offset);
    if (there !== undefined && there.id !== position.id) return;
    channel.lastUsed = steadyNow();
    channel.cursors ??= new Map();
    const known = channel.cursors.get(device);
    const now = steadyNow();
    if (known !== undefined && known.expires > now && known.position.offset >= position.offset) return;
    // The last one is the one that moved last.
    channel.cursors.delete(device);
    channel.cursors.set(device, { position: { ...position }, expires: now + ttl });
    if (channel.cursors.size > MAX_DEVICES) channel.cursors.delete(channel.cursors.keys().next().value!);
    for (const broker of this.#brokers) broker.ring(cursor.channel, cursor, ACKNOWLEDGED);
  }

  /** @internal */
  cursors(name: string): Cursor[] {
    const now = steadyNow();
    const result: Cursor[] = [];
    for (const [device, { position, expires }] of this.#channels.get(name)?.cursors ?? []) {
      if (expires > now) result.push({ channel: name, device, position: { ...position } });
    }
    return result;
  }

  /** Before anything is told of the channel's messages. */
  #look(channel: MemoryChannel): void {
    channel.lastUsed = steadyNow();
    if (channel.refresh()) this.#ringMarked(channel);
  }

  #ringMarked(channel: MemoryChannel): void {
    for (const broker of this.#brokers) broker.ring(channel.name, channel.marked, MARKED);
  }

  #unused(): Position {
    const now = steadyNow();
    return { epoch: unusedEpoch(this.#origin, now - DEFAULT_IDLE_CHANNEL_TTL, now), offset: 0, id: '' };
  }

  #channel(name: string): MemoryChannel {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = new MemoryChannel(name, this.#origin);
      this.#channels.set(name, channel);
    }
    channel.lastUsed = steadyNow();
    return channel;
  }

  #sweep(): void {
    const now = steadyNow();
    for (const channel of this.#channels.values()) {
      channel.tidy();
      removeExpired(channel.receipts, now);
      removeExpired(channel.cursors, now);
      const isEmpty = channel.first > channel.offset && !channel.cursors?.size && !channel.receipts?.size;
      if (isEmpty && channel.lastUsed < now - DEFAULT_IDLE_CHANNEL_TTL) this.#channels.delete(channel.name);
    }
  }
}

function removeExpired<K>(map: Map<K, { expires: number }> | undefined, now: number): void {
  for (const [key, { expires }] of map ?? []) if (expires <= now) map!.delete(key);
}

const MESSAGE = 0;
const TRANSIENT = 1;
const ACKNOWLEDGED = 2;
const MARKED = 3;

class MemoryBroker implements Broker {
  readonly control: ControlLog;
  readonly schedule: Schedule;
  readonly #store: MemoryStore;
  readonly #subscribed = new Set<string>();
  #listener: BrokerListener | undefined;
  /** What is to be told, in threes: channel, what, which kind of thing. */
  #bells: unknown[] = [];
  readonly #deliver = (): void => this.#drain();

  constructor(store: MemoryStore) {
    this.#store = store;
    this.control = new MemoryControl(store.commands);
    this.schedule = store.schedule;
  }

  async open(listener: BrokerListener): Promise<void> {
    this.#listener = listener;
    this.#store.attach(this);
    if (listener.control !== undefined) this.#store.commands.add(listener.control);
  }

  async publish(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    options: PublishOptions,
  ): Promise<Receipt> {
    checkLife(options);
    return this.#store.publish(channel, kind, payload, options);
  }

  async mark(channel: string, mark: Mark): Promise<Marked & { changed: number }> {
    return this.#store.mark(channel, mark);
  }

  async marks(channel: string): Promise<Marked> {
    return this.#store.marks(channel);
  }

  async remove(channel: string, which: Removal): Promise<boolean> {
    return this.#store.remove(channel, which);
  }

  async notify(channel: string, payload: Buffer): Promise<void> {
    this.#store.notify(channel, payload);
  }

  async subscribe(channel: string): Promise<void> {
    this.#subscribed.add(channel);
  }

  async unsubscribe(channel: string): Promise<void> {
    this.#subscribed.delete(channel);
  }

  async read(channel: string, offset: number, limit: number): Promise<LogPage> {
    return this.#store.read(channel, offset, limit);
  }

  async tops(channels: string[]): Promise<Position[]> {
    return channels.map((channel) => this.#store.top(channel));
  }

  async opening(channel: string): Promise<Opening> {
    const marked = this.#store.marks(channel);
    return { top: marked.top, cursors: this.#store.cursors(channel), marked };
  }

  async acknowledge(cursor: Cursor, ttl: number): Promise<void> {
    this.#store.acknowledge(cursor, ttl);
  }

  async cursors(channel: string): Promise<Cursor[]> {
    return this.#store.cursors(channel);
  }

  async announce(entries: PresenceEntry[]): Promise<void> {
    this.#store.presence.announce(entries, this);
  }

  async withdraw(entries: PresenceEntry[]): Promise<void> {
    this.#store.presence.withdraw(entries);
  }

  async presence(user: string): Promise<PresenceEntry[]> {
    return this.#store.presence.of(user);
  }

  async online(users: readonly string[]): Promise<Set<string>> {
    return new Set(users.filter((user) => this.#store.presence.isOnline(user)));
  }

  async attendance(topic: string, limit: number): Promise<Attendance> {
    return this.#store.presence.attendance(topic, limit);
  }

  async close(): Promise<void> {
    this.#store.detach(this);
    if (this.#listener?.control !== undefined) this.#store.commands.delete(this.#listener.control);
    this.#subscribed.clear();
    this.#listener = undefined;
    this.#bells = [];
  }

  /**
   * Queued, and told after the caller has returned: a listener that publishes in turn would otherwise
   * reach others before the message that it answers.
   */
  ring(channel: string, what: StoredMessage | Buffer | Cursor | Marked, kind: number): void {
    if (!this.#subscribed.has(channel)) return;
    if (this.#bells.push(channel, what, kind) === 3) queueMicrotask(this.#deliver);
  }

  #drain(): void {
    const bells = this.#bells;
    this.#bells = [];
    for (let i = 0; i < bells.length && this.#listener !== undefined; i += 3) {
      const channel = bells[i] as string;
      if (!this.#subscribed.has(channel)) continue;
      const kind = bells[i + 2] as number;
      if (kind === MESSAGE) this.#listener.message(bells[i + 1] as StoredMessage);
      else if (kind === TRANSIENT) this.#listener.transient(channel, bells[i + 1] as Buffer);
      else if (kind === MARKED) this.#listener.marked?.(channel, bells[i + 1] as Marked);
      else this.#listener.acknowledged(bells[i + 1] as Cursor);
    }
  }
}

/**
 * A broker that keeps everything in this process. Push servers that get brokers over the same store act
 * as instances of one system: `const store = new MemoryStore(); memoryBroker(store); memoryBroker(store)`.
 */
export function memoryBroker(store: MemoryStore = new MemoryStore()): Broker {
  if (!(store instanceof MemoryStore)) throw new TypeError('memoryBroker takes a MemoryStore, or nothing');
  return new MemoryBroker(store);
}
