/**
 * The Redis client: any command, replies in order, everything sent in one tick written at once. Subscriptions
 * have a connection of their own, made with the first of them (resp-subscriber.ts).
 */

import { EventEmitter } from 'node:events';
import {
  clearInterval,
  clearTimeout,
  monotonicNow,
  nextTick,
  setImmediate,
  setInterval,
  setTimeout,
} from '../../clock.ts';
import { RedisError, RedisReplyError } from './errors.ts';
import { type LinkOwner, type LinkSettings, RedisLink } from './link.ts';
import { type RedisOptions, type ResolvedRedisOptions, resolveRedisOptions } from './options.ts';
import {
  fail,
  IGNORED,
  PendingReplies,
  PromisedReply,
  type ReplyHandler,
  rethrow,
} from './reply-handlers.ts';
import { malformed } from './resp-boundary.ts';
import { encodeCommand, type RespArgument } from './resp-encoder.ts';
import type { MessageKind, RespReply } from './resp-reader.ts';
import { type RawListener, RespSubscriber } from './resp-subscriber.ts';
import type { Script } from './script.ts';
import { WaitingCommands } from './waiting-commands.ts';

export interface RespClientEvents {
  /** Connected and logged in, the first time or again. */
  ready: [];
  /** The connection was lost; it is being made again. */
  down: [error: RedisError];
  /** An attempt to connect failed; the message says when the next is due. */
  retry: [error: RedisError];
}

/** Milliseconds that a connection on its way out has for what was sent on it. */
const LAST_ANSWERS = 1000;

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
  readonly #pending = new PendingReplies();
  readonly #waiting: WaitingCommands;
  readonly #connecting = new Set<(error: Error) => void>();
  #sweeper: NodeJS.Timeout | undefined;
  #sweptAt = 0;
  #lastError: RedisError | undefined;
  #closing: Promise<void> | undefined;
  #settled: (() => void) | undefined;
  /**
   * While it is there, nothing new is sent before what was sent is answered: then `resume` is called. What came
   * back undone and must not fall behind later commands is sent first.
   */
  #hold: { resume: () => void; timer: NodeJS.Timeout | undefined } | undefined;
  readonly #undone: { handler: ReplyHandler; bytes: Buffer }[] = [];
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
    this.#waiting = new WaitingCommands(this.options, (handlers) => {
      const error = this.#unavailable(`no connection within ${this.options.queueMaxWait} ms`);
      for (const handler of handlers) fail(handler, error);
    });
  }

  /** True while commands go straight to Redis. */
  get isReady(): boolean {
    return this.#link.isReady && this.#hold === undefined;
  }

  /** True while there is a connection that is logged in. */
  get isConnected(): boolean {
    return this.#link.isReady;
  }

  /** The server, for messages: `127.0.0.1:6379`. */
  get address(): string {
    return this.#link.address;
  }

  /** Lets replies, and messages of subscriptions, have so many bytes. */
  acceptReplies(bytes: number): void {
    (this.options as ResolvedRedisOptions).maxReplySize = bytes;
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
        this.#connecting.delete(failed);
        resolve();
      };
      const failed = (error: Error): void => {
        this.off('ready', ready);
        reject(error);
      };
      this.#connecting.add(failed);
      this.once('ready', ready);
    });
  }

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
  evaluate(script: Script, keys: readonly string[], args: readonly RespArgument[]): Promise<RespReply> {
    return new ScriptReply(this, script, keys, args, false).promise;
  }

  /** As `evaluate`, with every string of the reply as a Buffer. */
  evaluateBuffers(
    script: Script,
    keys: readonly string[],
    args: readonly RespArgument[],
  ): Promise<RespReply> {
    return new ScriptReply(this, script, keys, args, true).promise;
  }

  /**
   * The way of every command, without a promise: `handler` is told the reply, in the order of sending, or the
   * failure. `args` begins with the command's name.
   */
  send(handler: ReplyHandler, args: readonly RespArgument[]): void {
    if (this.#isOpen && this.#link.send(args)) this.#pending.push(handler);
    else this.#enqueue([handler], encodeCommand(args));
  }

  /** As `send`, for commands that nothing may come between, and of which none may be sent without the others. */
  sendTogether(handlers: readonly ReplyHandler[], commands: readonly (readonly RespArgument[])[]): void {
    const bytes = Buffer.concat(commands.map(encodeCommand));
    if (this.#isOpen && this.#link.sendTogether(bytes, commands.length)) {
      for (const handler of handlers) this.#pending.push(handler);
    } else this.#enqueue([...handlers], bytes);
  }

  /** Whether a command may go straight to the link. */
  get #isOpen(): boolean {
    return this.isReady && this.#closing === undefined && this.#waiting.commands === 0 && !this.#isCongested;
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
    const error = this.#closedError();
    for (const failed of this.#connecting) failed(error);
    this.#connecting.clear();
    for (const handler of this.#waiting.clear()) fail(handler, error);
    for (const { handler } of this.#undone.splice(0)) fail(handler, error);
    if (this.#link.isReady && this.#pending.length > 0) {
      await new Promise<void>((resolve) => {
        this.#settled = resolve;
      });
    }
    clearInterval(this.#sweeper);
    clearTimeout(this.#hold?.timer);
    this.#link.close();
    await this.#subscriber?.close();
    this.#failPending(error);
  }

  /** Drops the connection and makes another, for one that answers but must not be used: a demoted master. */
  reconnect(reason: string): void {
    this.#link.replace(new RedisError('REDIS_CONNECTION', `Redis at ${this.address} ${reason}`));
  }

  /** As `send`, for a command that came back undone: it goes out before what was given in the meantime. */
  sendAgain(handler: ReplyHandler, args: readonly RespArgument[]): void {
    if (this.#closing !== undefined) {
      fail(handler, this.#closedError());
      return;
    }
    this.#undone.push({ handler, bytes: encodeCommand(args) });
    this.#holdUntilAnswered(() => this.#drain());
  }

  // ── the way to Redis ──

  /** Sends nothing new before all that was sent is answered, or `patience` is over, and then calls `resume`. */
  #holdUntilAnswered(resume: () => void, patience = 0): void {
    if (this.#hold !== undefined) {
      if (patience > 0) this.#hold.resume = resume;
      return;
    }
    const timer = patience > 0 ? setTimeout(() => this.#resume(), patience) : undefined;
    this.#hold = { resume, timer };
    if (this.#pending.length === 0) nextTick(() => this.#resume());
  }

  #resume(): void {
    const hold = this.#hold;
    if (hold === undefined) return;
    clearTimeout(hold.timer);
    this.#hold = undefined;
    this.#requeue();
    hold.resume();
  }

  /** What came back undone is the first of what waits. */
  #requeue(): void {
    for (const { handler, bytes } of this.#undone.splice(0).reverse())
      this.#waiting.putFirst(bytes, [handler]);
  }

  /** The socket takes less than is written: what comes now waits, so that the queue's bounds hold. */
  get #isCongested(): boolean {
    return this.#link.backlog > this.options.queueMaxBytes;
  }

  #enqueue(handlers: ReplyHandler[], bytes: Buffer): void {
    const refuse = (error: RedisError): void => {
      for (const handler of handlers) fail(handler, error);
    };
    if (this.#closing !== undefined) {
      refuse(this.#closedError());
      return;
    }
    this.#link.connect();
    if (this.options.queueMaxWait === 0 && this.#hold === undefined) {
      refuse(this.#unavailable('there is no connection'));
    } else if (!this.#waiting.add(bytes, handlers)) {
      const held = `${this.#waiting.commands} commands, ${this.#waiting.bytes} bytes`;
      const message = `the queue for Redis at ${this.address} is full (${held})${this.#cause()}`;
      refuse(new RedisError('REDIS_QUEUE_FULL', message, { cause: this.#lastError }));
    } else if (this.isReady) {
      setImmediate(() => this.#drain());
    }
  }

  /** Sends what waits, as far as the socket takes it. */
  #drain(): void {
    for (let entry = this.#waiting.first; entry !== undefined; entry = this.#waiting.first) {
      if (!this.isReady) return;
      if (this.#isCongested) {
        setTimeout(() => this.#drain(), 10).unref();
        return;
      }
      if (!this.#link.sendEncoded(entry.bytes)) return;
      this.#waiting.shift();
      for (const handler of entry.handlers) this.#pending.push(handler);
    }
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
    const now = monotonicNow();
    // After a stall of this process the replies may be waiting in the kernel: look again next time.
    const stalled = now - this.#sweptAt > period * 3;
    this.#sweptAt = now;
    if (stalled) return;
    for (const handler of this.#pending.takeOverdue(now - commandTimeout)) {
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
    this.#settled?.();
  }

  // ── what the link tells ──

  /** @internal */
  ready(): void {
    this.#lastError = undefined;
    const { commandTimeout } = this.options;
    if (commandTimeout > 0) {
      const period = Math.max(10, commandTimeout / 8);
      this.#sweptAt = monotonicNow();
      this.#sweeper = setInterval(() => this.#sweep(period), period).unref();
    }
    this.#drain();
    this.emit('ready');
  }

  /** @internal */
  lost(error: RedisError, unwritten: Buffer, count: number): void {
    this.#lastError = error;
    clearInterval(this.#sweeper);
    clearTimeout(this.#hold?.timer);
    this.#hold = undefined;
    if (count > 0) this.#waiting.putFirst(unwritten, this.#pending.popLast(count));
    this.#requeue();
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
    if (handler === undefined) throw malformed('a reply that nothing asked for');
    try {
      handler.reply(value);
    } catch (error) {
      rethrow(error);
    }
  }

  /** @internal */
  replyError(message: string): void {
    const handler = this.#answeredHandler();
    const error = new RedisReplyError(message, handler?.command);
    if (handler === undefined) {
      // A server that is about to hang up says why.
      this.reconnect(`said: ${message}`);
      return;
    }
    fail(handler, error);
    if (error.prefix !== 'READONLY') return;
    // A master that became a replica: whoever located it must look again, once the others have their answers.
    this.#link.requireMaster();
    this.#holdUntilAnswered(() => this.reconnect('is a read-only replica'), LAST_ANSWERS);
  }

  /** @internal */
  replyTooLong(limit: number): void {
    const handler = this.#answeredHandler();
    if (handler === undefined) throw malformed('a reply that nothing asked for');
    const what = `the reply to ${handler.command ?? 'a command'} has more than ${limit} bytes (maxReplySize)`;
    fail(handler, new RedisError('REDIS_REPLY_TOO_LONG', `Redis at ${this.address}: ${what}`));
  }

  /** @internal */
  wantsBuffers(): boolean {
    return this.#pending.first?.returnBuffers === true;
  }

  /** @internal */
  message(_kind: MessageKind): void {
    // Never on this connection: subscriptions have their own.
  }

  /** @internal */
  messageTooLong(): void {}

  #answeredHandler(): ReplyHandler | undefined {
    const handler = this.#pending.shift();
    if (this.#pending.length === 0) {
      if (this.#settled !== undefined) nextTick(this.#settled);
      if (this.#hold !== undefined) nextTick(() => this.#resume());
    }
    return handler;
  }
}

/** The reply to a script: to EVALSHA, or to the EVAL that follows where the server does not know it. */
class ScriptReply extends PromisedReply {
  readonly #client: RespClient;
  readonly #script: Script;
  readonly #args: RespArgument[];
  #isRepetition = false;

  constructor(
    client: RespClient,
    script: Script,
    keys: readonly string[],
    args: readonly RespArgument[],
    returnBuffers: boolean,
  ) {
    super('EVALSHA', returnBuffers);
    this.#client = client;
    this.#script = script;
    this.#args = ['EVALSHA', script.digest, keys.length, ...keys, ...args];
    client.send(this, this.#args);
  }

  override failed(error: RedisError): void {
    if (!this.#isRepetition && error instanceof RedisReplyError && error.prefix === 'NOSCRIPT') {
      // EVAL runs it and makes its digest known again, in one round trip.
      this.#isRepetition = true;
      this.#args[0] = 'EVAL';
      this.#args[1] = this.#script.source;
      this.#client.sendAgain(this, this.#args);
    } else {
      this.reject(error);
    }
  }
}

function outcomeUnknown(what: string, cause?: RedisError): RedisError {
  const reason = cause === undefined ? '' : `: ${cause.message}`;
  return new RedisError('REDIS_OUTCOME_UNKNOWN', `${what}; it may have been executed${reason}`, { cause });
}
