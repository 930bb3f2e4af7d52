/**
 * The Redis client: any command, replies in order, everything sent in one tick written at once. Subscriptions
 * have a connection of their own, made with the first of them (resp-subscriber.ts).
 */
import { EventEmitter } from 'node:events';
import { RedisError, RedisReplyError } from './redis-errors.ts';
import { type LinkOwner, type LinkSettings, RedisLink } from './redis-link.ts';
import { type RedisOptions, type ResolvedRedisOptions, resolveRedisOptions } from './redis-options.ts';
import { encodeCommand, type RespArgument } from './resp-encoder.ts';
import type { MessageKind, RespReply } from './resp-reader.ts';
import { type RawListener, RespSubscriber } from './resp-subscriber.ts';
import type { Script } from './script.ts';

/**
 * Receives the reply of a command that was given to `RespClient#send`: cheaper than a promise, and one object
 * may serve any number of commands.
 */
export interface ReplyHandler {
  /** Whether strings are wanted as Buffers. Read when the reply arrives. */
  readonly returnBuffers?: boolean;
  /** Named in errors. */
  readonly command?: string;
  reply(value: RespReply): void;
  failed(error: RedisError): void;
}

export interface RespClientEvents {
  /** Connected and logged in, the first time or again. */
  ready: [];
  /** The connection was lost; it is being made again. */
  down: [error: RedisError];
  /** An attempt to connect failed; the message says when the next is due. */
  retry: [error: RedisError];
}

/** Gets the messages of a subscription. */
export type MessageListener<Payload> = (payload: Payload, channel: string) => void;

const decoding =
  (listener: MessageListener<string>): RawListener =>
  (bytes, start, end, channel) =>
    listener(bytes.toString('utf8', start, end), channel);

const viewing =
  (listener: MessageListener<Buffer>): RawListener =>
  (bytes, start, end, channel) =>
    listener(bytes.subarray(start, end), channel);

/**
 * A client of one Redis (or Valkey) server, RESP2. It connects with the first command, or `connect()`, and
 * again whenever the connection is lost, until `close()`.
 *
 * A command whose connection drops before the reply came rejects with `REDIS_OUTCOME_UNKNOWN` and is never
 * sent twice. Commands given while there is no connection wait in a bounded queue.
 */
export class RespClient extends EventEmitter<RespClientEvents> implements LinkOwner {
  readonly options: Readonly<ResolvedRedisOptions>;
  readonly #settings: Pick<LinkSettings, 'locate' | 'role'>;
  readonly #link: RedisLink;
  readonly #pending = new HandlerQueue();
  /** What waits for a connection. */
  #queue: QueuedCommands[] = [];
  #queuedCommands = 0;
  #queuedBytes = 0;
  #queueTimer: NodeJS.Timeout | undefined;
  /** Commands sent and answered, all told, to tell which batch a command was in. */
  #sent = 0;
  #answered = 0;
  /** When the commands up to and including number `end` were sent. */
  #batches: { end: number; time: number }[] = [];
  #isBatchOpen = false;
  readonly #closeBatch = (): void => {
    this.#isBatchOpen = false;
    this.#batches.push({ end: this.#sent, time: performance.now() });
  };
  #sweeper: NodeJS.Timeout | undefined;
  #sweptAt = 0;
  #lastError: RedisError | undefined;
  #closing: Promise<void> | undefined;
  #settled: (() => void) | undefined;
  #subscriber: RespSubscriber | undefined;

  /**
   * @param url `redis://…`, `rediss://…`, `redis+unix:///path` or options
   * @param options win over what the URL says
   * @param settings for Sentinel and Cluster: where to connect, and as what
   * @throws {TypeError} if the URL can't be read
   */
  constructor(
    url: string | RedisOptions = {},
    options: RedisOptions = {},
    settings: Pick<LinkSettings, 'locate' | 'role'> = {},
  ) {
    super();
    this.options = resolveRedisOptions(url, options);
    this.#settings = settings;
    this.#link = new RedisLink(this, this.options, { ...settings, isSubscriber: false });
  }

  /** True while commands go straight to Redis. */
  get isReady(): boolean {
    return this.#link.isReady;
  }

  /** The server, for messages: `127.0.0.1:6379`. */
  get address(): string {
    return this.#link.address;
  }

  /** Commands written and not yet answered. */
  get pendingCommands(): number {
    return this.#pending.length;
  }

  /** Why there is no connection, while there is none. */
  get lastError(): RedisError | undefined {
    return this.#lastError;
  }

  /**
   * Resolves when connected. Failed attempts are repeated, and told as `retry` events, until one succeeds.
   *
   * @throws {RedisError} `REDIS_CLOSED` if `close()` comes first
   */
  async connect(): Promise<void> {
    if (this.#closing !== undefined) throw this.#closedError();
    if (this.isReady) return;
    this.#link.connect();
    await new Promise<void>((resolve, reject) => {
      const ready = (): void => {
        this.#waiting.delete(failed);
        resolve();
      };
      const failed = (error: Error): void => {
        this.off('ready', ready);
        reject(error);
      };
      this.#waiting.add(failed);
      this.once('ready', ready);
    });
  }
  readonly #waiting = new Set<(error: Error) => void>();

  /**
   * Sends a command, with strings as UTF-8 and bytes as they are, and returns the reply with its strings
   * decoded from UTF-8.
   *
   * @throws {RedisReplyError} what Redis answered instead; `RedisError` where no reply came (see `code`)
   */
  command(name: string, ...args: RespArgument[]): Promise<RespReply> {
    const handler = new PromisedReply(name, false);
    args.unshift(name);
    this.send(handler, args);
    return handler.promise;
  }

  /** As `command`, with every string of the reply as a Buffer. */
  commandBuffers(name: string, ...args: RespArgument[]): Promise<RespReply> {
    const handler = new PromisedReply(name, true);
    args.unshift(name);
    this.send(handler, args);
    return handler.promise;
  }

  /** @returns how many subscribers of this server got it */
  publish(channel: string, payload: string | Uint8Array): Promise<number> {
    const handler = new PromisedReply('PUBLISH', false);
    this.send(handler, ['PUBLISH', channel, payload]);
    return handler.promise as Promise<number>;
  }

  /** Runs a Lua script by its digest; where the server does not know it (any more), by its text. */
  async evaluate(script: Script, keys: readonly string[], args: readonly RespArgument[]): Promise<RespReply> {
    return this.#evaluate(script, keys, args, false);
  }

  /** As `evaluate`, with every string of the reply as a Buffer. */
  async evaluateBuffers(
    script: Script,
    keys: readonly string[],
    args: readonly RespArgument[],
  ): Promise<RespReply> {
    return this.#evaluate(script, keys, args, true);
  }

  async #evaluate(
    script: Script,
    keys: readonly string[],
    args: readonly RespArgument[],
    returnBuffers: boolean,
  ): Promise<RespReply> {
    const first = new PromisedReply('EVALSHA', returnBuffers);
    this.send(first, ['EVALSHA', script.digest, keys.length, ...keys, ...args]);
    try {
      return await first.promise;
    } catch (error) {
      if (!(error instanceof RedisReplyError) || error.prefix !== 'NOSCRIPT') throw error;
      // EVAL runs it and makes its digest known again, in one round trip.
      const second = new PromisedReply('EVAL', returnBuffers);
      this.send(second, ['EVAL', script.source, keys.length, ...keys, ...args]);
      return second.promise;
    }
  }

  /**
   * The way of every command, without a promise: `handler` is told the reply, in the order of sending, or the
   * failure. `args` begins with the command's name.
   */
  send(handler: ReplyHandler, args: readonly RespArgument[]): void {
    const link = this.#link;
    if (
      link.isReady &&
      this.#closing === undefined &&
      this.#queue.length === 0 &&
      !this.#isCongested &&
      link.send(args)
    ) {
      this.#track(handler);
    } else {
      this.#enqueue(handler, args);
    }
  }

  /**
   * Subscribes to channels; resolves when all are in force. They stay so over lost connections, with a gap
   * while there is none. Subscribing again to a channel replaces its listener.
   *
   * @param listener gets each payload decoded from UTF-8
   */
  async subscribe(channels: string | readonly string[], listener: MessageListener<string>): Promise<void> {
    await this.subscriber.subscribe('channel', channels, decoding(listener));
  }

  /**
   * As `subscribe`, without decoding: `listener` gets each payload as a view of the read buffer that is valid
   * during the call. `Buffer.from(payload)` keeps it.
   */
  async subscribeBuffers(
    channels: string | readonly string[],
    listener: MessageListener<Buffer>,
  ): Promise<void> {
    await this.subscriber.subscribe('channel', channels, viewing(listener));
  }
  async unsubscribe(channels: string | readonly string[]): Promise<void> {
    await this.#subscriber?.unsubscribe('channel', channels);
  }

  /** As `subscribe`, for all channels that match a pattern (PSUBSCRIBE). */
  async psubscribe(patterns: string | readonly string[], listener: MessageListener<string>): Promise<void> {
    await this.subscriber.subscribe('pattern', patterns, decoding(listener));
  }
  async punsubscribe(patterns: string | readonly string[]): Promise<void> {
    await this.#subscriber?.unsubscribe('pattern', patterns);
  }

  /** As `subscribe`, for sharded channels of Redis 7 and later (SSUBSCRIBE). */
  async ssubscribe(channels: string | readonly string[], listener: MessageListener<string>): Promise<void> {
    await this.subscriber.subscribe('shard', channels, decoding(listener));
  }
  async sunsubscribe(channels: string | readonly string[]): Promise<void> {
    await this.#subscriber?.unsubscribe('shard', channels);
  }

  /** The connection of the subscriptions; it is made when first asked for. */
  get subscriber(): RespSubscriber {
    if (this.#closing !== undefined) throw this.#closedError();
    this.#subscriber ??= new RespSubscriber(this.options, {}, this.#settings);
    return this.#subscriber;
  }

  /**
   * Takes no more commands, waits for the replies of those already written, and disconnects. Commands still
   * waiting for a connection reject with `REDIS_CLOSED`.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#queueTimer);
    const error = this.#closedError();
    for (const failed of this.#waiting) failed(error);
    this.#waiting.clear();
    for (const entry of this.#queue.splice(0)) for (const handler of entry.handlers) fail(handler, error);
    if (this.isReady && this.#pending.length > 0) {
      await new Promise<void>((resolve) => {
        this.#settled = resolve;
      });
    }
    clearInterval(this.#sweeper);
    this.#link.close();
    await this.#subscriber?.close();
    this.#failPending(error);
  }

  /** Drops the connection and makes another, for one that answers but must not be used: a demoted master. */
  reconnect(reason: string): void {
    this.#link.replace(new RedisError('REDIS_CONNECTION', `Redis at ${this.address} ${reason}`));
  }

  // ── the way to Redis ──

  #track(handler: ReplyHandler): void {
    this.#pending.push(handler);
    this.#sent++;
    if (!this.#isBatchOpen) {
      this.#isBatchOpen = true;
      queueMicrotask(this.#closeBatch);
    }
  }

  /** The socket takes less than is written: what comes now waits, so that the queue's bounds hold. */
  get #isCongested(): boolean {
    return this.#link.backlog > this.options.queueMaxBytes;
  }

  #enqueue(handler: ReplyHandler, args: readonly RespArgument[]): void {
    if (this.#closing !== undefined) {
      fail(handler, this.#closedError());
      return;
    }
    this.#link.connect();
    const { queueMaxWait, queueMaxCommands, queueMaxBytes } = this.options;
    if (queueMaxWait === 0) {
      fail(handler, this.#unavailable('there is no connection'));
      return;
    }
    const bytes = encodeCommand(args);
    if (this.#queuedCommands >= queueMaxCommands || this.#queuedBytes + bytes.length > queueMaxBytes) {
      const held = `${this.#queuedCommands} commands, ${this.#queuedBytes} bytes`;
      const message = `the queue for Redis at ${this.address} is full (${held})${this.#cause()}`;
      fail(handler, new RedisError('REDIS_QUEUE_FULL', message, { cause: this.#lastError }));
      return;
    }
    this.#queue.push({ bytes, handlers: [handler], deadline: performance.now() + queueMaxWait });
    this.#queuedCommands++;
    this.#queuedBytes += bytes.length;
    this.#queueTimer ??= setTimeout(() => this.#expire(), queueMaxWait);
    if (this.isReady) setImmediate(() => this.#drain());
  }

  #drain(): void {
    while (this.#queue.length > 0 && this.isReady && !this.#isCongested) {
      const entry = this.#queue[0]!;
      if (!this.#link.sendEncoded(entry.bytes)) return;
      this.#dequeue();
      for (const handler of entry.handlers) this.#track(handler);
    }
    if (this.#queue.length > 0 && this.isReady) setTimeout(() => this.#drain(), 10).unref();
  }

  #dequeue(): void {
    const entry = this.#queue.shift()!;
    this.#queuedCommands -= entry.handlers.length;
    this.#queuedBytes -= entry.bytes.length;
  }

  #expire(): void {
    this.#queueTimer = undefined;
    const now = performance.now();
    while (this.#queue.length > 0 && this.#queue[0]!.deadline <= now) {
      const { handlers } = this.#queue[0]!;
      this.#dequeue();
      const error = this.#unavailable(`no connection within ${this.options.queueMaxWait} ms`);
      for (const handler of handlers) fail(handler, error);
    }
    if (this.#queue.length === 0) return;
    this.#queueTimer = setTimeout(() => this.#expire(), Math.max(1, this.#queue[0]!.deadline - now));
  }

  #unavailable(what: string): RedisError {
    const message = `Redis at ${this.address}: ${what}, the command was not sent${this.#cause()}`;
    return new RedisError('REDIS_UNAVAILABLE', message, { cause: this.#lastError });
  }

  #cause(): string {
    return this.#lastError === undefined ? '' : `; ${this.#lastError.message}`;
  }

  #closedError(): RedisError {
    return new RedisError('REDIS_CLOSED', `the client of Redis at ${this.address} is closed`);
  }

  /** Gives up on commands whose reply is overdue. Their replies, should they come, are passed over. */
  #sweep(period: number): void {
    const { commandTimeout } = this.options;
    const now = performance.now();
    // After a stall of this process the replies may be waiting in the kernel: look again next time.
    const stalled = now - this.#sweptAt > period * 3;
    this.#sweptAt = now;
    if (stalled) return;
    const oldest = now - commandTimeout;
    let overdue = this.#answered;
    while (this.#batches.length > 0 && this.#batches[0]!.time <= oldest) overdue = this.#batches.shift()!.end;
    for (let i = 0; i < overdue - this.#answered; i++) {
      const handler = this.#pending.replace(i, IGNORED);
      if (handler === IGNORED) continue;
      const what = `no reply to ${handler.command ?? 'a command'} within ${commandTimeout} ms`;
      fail(handler, outcomeUnknown(`Redis at ${this.address}: ${what}`));
    }
  }

  #failPending(cause: RedisError): void {
    const name = `Redis at ${this.address}`;
    for (let handler = this.#pending.shift(); handler !== undefined; handler = this.#pending.shift()) {
      const command = handler.command ?? 'a command';
      fail(handler, outcomeUnknown(`${name}: connection lost before the reply to ${command}`, cause));
    }
    this.#answered = this.#sent;
    this.#batches = [];
    this.#settled?.();
  }

  // ── what the link tells ──

  /** @internal */
  ready(): void {
    this.#lastError = undefined;
    const { commandTimeout } = this.options;
    if (commandTimeout > 0) {
      const period = Math.max(10, commandTimeout / 8);
      this.#sweptAt = performance.now();
      this.#sweeper = setInterval(() => this.#sweep(period), period).unref();
    }
    this.#drain();
    this.emit('ready');
  }

  /** @internal */
  lost(error: RedisError, unwritten: Buffer, count: number): void {
    this.#lastError = error;
    clearInterval(this.#sweeper);
    if (count > 0) {
      const handlers = this.#pending.popLast(count);
      this.#sent -= count;
      this.#queue.unshift({
        bytes: unwritten,
        handlers,
        deadline: performance.now() + this.options.queueMaxWait,
      });
      this.#queuedCommands += count;
      this.#queuedBytes += unwritten.length;
      this.#queueTimer ??= setTimeout(() => this.#expire(), this.options.queueMaxWait);
    }
    this.#failPending(error);
    this.emit('down', error);
  }

  /** @internal */
  failed(error: RedisError): void {
    this.#lastError = error;
    this.emit('retry', error);
  }

  /** @internal */
  probe(): void {
    // A command that awaits its reply is as good a probe.
    if (this.#pending.length === 0) this.send(IGNORED, ['PING']);
  }

  /** @internal */
  reply(value: RespReply): void {
    const handler = this.#answeredHandler();
    try {
      handler?.reply(value);
    } catch (error) {
      rethrow(error);
    }
  }

  /** @internal */
  replyError(message: string): void {
    const handler = this.#answeredHandler();
    if (handler === undefined) return;
    const error = new RedisReplyError(message, handler.command);
    fail(handler, error);
    // A master that became a replica: whoever located it must look again.
    if (error.prefix === 'READONLY') this.reconnect('is a read-only replica');
  }

  /** @internal */
  wantsBuffers(): boolean {
    return this.#pending.first?.returnBuffers === true;
  }

  /** @internal */
  message(_kind: MessageKind): void {
    // Never on this connection: subscriptions have their own.
  }

  #answeredHandler(): ReplyHandler | undefined {
    const handler = this.#pending.shift();
    this.#answered++;
    if (this.#batches.length > 0 && this.#batches[0]!.end <= this.#answered) this.#batches.shift();
    if (this.#settled !== undefined && this.#pending.length === 0) process.nextTick(this.#settled);
    return handler;
  }
}

interface QueuedCommands {
  bytes: Buffer;
  handlers: ReplyHandler[];
  deadline: number;
}

/** The executor of every promise here: shared, so that a command costs no closure. */
const capture = (resolve: (value: RespReply) => void, reject: (error: Error) => void): void => {
  capturedResolve = resolve;
  capturedReject = reject;
};
let capturedResolve: (value: RespReply) => void;
let capturedReject: (error: Error) => void;

class PromisedReply implements ReplyHandler {
  readonly command: string;
  readonly returnBuffers: boolean;
  readonly promise: Promise<RespReply>;
  readonly reply: (value: RespReply) => void;
  readonly failed: (error: Error) => void;

  constructor(command: string, returnBuffers: boolean) {
    this.command = command;
    this.returnBuffers = returnBuffers;
    this.promise = new Promise(capture);
    this.reply = capturedResolve;
    this.failed = capturedReject;
  }
}

const IGNORED: ReplyHandler = { reply() {}, failed() {} };

function outcomeUnknown(what: string, cause?: RedisError): RedisError {
  const reason = cause === undefined ? '' : `: ${cause.message}`;
  return new RedisError('REDIS_OUTCOME_UNKNOWN', `${what}; it may have been executed${reason}`, { cause });
}

function fail(handler: ReplyHandler, error: RedisError): void {
  try {
    handler.failed(error);
  } catch (thrown) {
    rethrow(thrown);
  }
}

/** An error of the application's own handler: it must surface, but not in the middle of a read. */
function rethrow(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}

/** First in, first out, in a ring of a power of two. */
class HandlerQueue {
  #ring: (ReplyHandler | undefined)[] = new Array(64).fill(undefined);
  #mask = 63;
  #head = 0;
  length = 0;

  get first(): ReplyHandler | undefined {
    return this.#ring[this.#head];
  }

  push(handler: ReplyHandler): void {
    if (this.length > this.#mask) this.#grow();
    this.#ring[(this.#head + this.length) & this.#mask] = handler;
    this.length++;
  }

  shift(): ReplyHandler | undefined {
    const handler = this.#ring[this.#head];
    if (handler === undefined) return undefined;
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & this.#mask;
    this.length--;
    return handler;
  }

  /** Puts `handler` in the place of the one at `index`, counted from the first, and returns that. */
  replace(index: number, handler: ReplyHandler): ReplyHandler {
    const at = (this.#head + index) & this.#mask;
    const before = this.#ring[at]!;
    this.#ring[at] = handler;
    return before;
  }

  /** Takes the last `count` out again, in their order. */
  popLast(count: number): ReplyHandler[] {
    const taken: ReplyHandler[] = [];
    for (let i = this.length - count; i < this.length; i++) {
      const at = (this.#head + i) & this.#mask;
      taken.push(this.#ring[at]!);
      this.#ring[at] = undefined;
    }
    this.length -= count;
    return taken;
  }

  #grow(): void {
    const ring: (ReplyHandler | undefined)[] = new Array((this.#mask + 1) * 2).fill(undefined);
    for (let i = 0; i < this.length; i++) ring[i] = this.#ring[(this.#head + i) & this.#mask];
    this.#ring = ring;
    this.#mask = ring.length - 1;
    this.#head = 0;
  }
}
