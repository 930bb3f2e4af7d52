/**
 * The commands of one connection: replies in order, everything sent in one tick written at once, what is given while
 * there is no connection kept within bounds, and what is lost with a connection told to whom it belongs.
 */
import {
  clearInterval,
  clearTimeout,
  monotonicNow,
  nextTick,
  setImmediate,
  setInterval,
  setTimeout,
} from '../../clock.ts';
import { within } from '../../waiting.ts';
import { RedisError, RedisReplyError } from './errors.ts';
import { type LinkOwner, type LinkSettings, RedisLink } from './link.ts';
import type { ResolvedRedisOptions } from './options.ts';
import { fail, IGNORED, PendingReplies, type ReplyHandler, rethrow } from './reply-handlers.ts';
import { malformed } from './resp-boundary.ts';
import { encodeCommand, type RespArgument } from './resp-encoder.ts';
import type { MessageKind, RespReply } from './resp-reader.ts';
import { WaitingCommands } from './waiting-commands.ts';

/** Milliseconds that a connection on its way out has for what was sent on it. */
const LAST_ANSWERS = 1000;

/** What the user of a connection's commands is told besides replies. */
export interface CommandHooks {
  /** Connected and logged in, the first time or again. */
  ready(): void;
  /** The connection was lost; it is being made again. */
  down(error: RedisError): void;
  /** An attempt to connect failed; the message says when the next is due. */
  retry(error: RedisError): void;
}

export class RespCommands implements LinkOwner {
  readonly #options: ResolvedRedisOptions;
  readonly #hooks: CommandHooks;
  readonly #link: RedisLink;
  readonly #pending = new PendingReplies();
  readonly #waiting: WaitingCommands;
  #sweeper: NodeJS.Timeout | undefined;
  #sweptAt = 0;
  #lastError: RedisError | undefined;
  #isClosing = false;
  #settled: (() => void) | undefined;
  /**
   * While it is there, nothing new is sent before what was sent is answered: then `resume` is called. What came
   * back undone and must not fall behind later commands is sent first.
   */
  #hold: { resume: () => void; timer: NodeJS.Timeout | undefined } | undefined;
  #undone: { handlers: [ReplyHandler]; bytes: Buffer }[] = [];

  constructor(
    options: ResolvedRedisOptions,
    hooks: CommandHooks,
    settings: Pick<LinkSettings, 'locate' | 'role'>,
  ) {
    this.#options = options;
    this.#hooks = hooks;
    this.#link = new RedisLink(this, options, { ...settings, isSubscriber: false });
    this.#waiting = new WaitingCommands(options, (handlers) => {
      const error = this.#unavailable(`no connection within ${options.queueMaxWait} ms`);
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

  get address(): string {
    return this.#link.address;
  }

  /** Commands written and not yet answered. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Why there is no connection, while there is none. */
  get lastError(): RedisError | undefined {
    return this.#lastError;
  }

  connect(): void {
    this.#link.connect();
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

  /** As `send`, for a command that came back undone: it goes out before what was given in the meantime. */
  sendAgain(handler: ReplyHandler, args: readonly RespArgument[]): void {
    if (this.#isClosing) {
      fail(handler, this.#closedError());
      return;
    }
    this.#undone.push({ handlers: [handler], bytes: encodeCommand(args) });
    this.#holdUntilAnswered(() => this.#drain());
  }

  /** Drops the connection and makes another, for one that answers but must not be used: a demoted master. */
  reconnect(reason: string): void {
    this.#link.replace(new RedisError('REDIS_CONNECTION', `Redis at ${this.address} ${reason}`));
  }

  /** Takes no more commands. Resolves once those already written are answered, and the connection is ended. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const error = this.#closedError();
    for (const handler of this.#waiting.clear()) fail(handler, error);
    for (const { handlers } of this.#undone) fail(handlers[0], error);
    this.#undone = [];
    if (this.#link.isReady && this.#pending.length > 0) {
      const settled = new Promise<void>((resolve) => {
        this.#settled = resolve;
      });
      await within(LAST_ANSWERS, settled);
    }
    clearInterval(this.#sweeper);
    clearTimeout(this.#hold?.timer);
    this.#link.close();
    this.#failPending(error);
  }

  // ── the way to Redis ──

  /** Whether a command may go straight to the link. */
  get #isOpen(): boolean {
    return this.isReady && !this.#isClosing && this.#waiting.commands === 0 && !this.#isCongested;
  }

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
    this.#waiting.putFirst(this.#undone);
    this.#undone = [];
  }

  /** The socket takes less than is written: what comes now waits, so that the queue's bounds hold. */
  get #isCongested(): boolean {
    return this.#link.backlog > this.#options.queueMaxBytes;
  }

  #enqueue(handlers: ReplyHandler[], bytes: Buffer): void {
    const refuse = (error: RedisError): void => {
      for (const handler of handlers) fail(handler, error);
    };
    if (this.#isClosing) {
      refuse(this.#closedError());
      return;
    }
    this.#link.connect();
    if (this.#options.queueMaxWait === 0 && this.#hold === undefined) {
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
      this.#waiting.take();
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
    const { commandTimeout } = this.#options;
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
    for (let handler = this.#pending.take(); handler !== undefined; handler = this.#pending.take()) {
      const command = handler.command ?? 'a command';
      fail(handler, outcomeUnknown(`${name}: connection lost before the reply to ${command}`, cause));
    }
    this.#settled?.();
  }

  // ── what the link tells ──

  /** @internal */
  ready(): void {
    this.#lastError = undefined;
    const { commandTimeout } = this.#options;
    if (commandTimeout > 0) {
      const period = Math.max(10, commandTimeout / 8);
      this.#sweptAt = monotonicNow();
      this.#sweeper = setInterval(() => this.#sweep(period), period).unref();
    }
    this.#drain();
    this.#hooks.ready();
  }

  /** @internal */
  lost(error: RedisError, unwritten: Buffer, count: number): void {
    this.#lastError = error;
    clearInterval(this.#sweeper);
    clearTimeout(this.#hold?.timer);
    this.#hold = undefined;
    if (count > 0) this.#waiting.putFirst([{ bytes: unwritten, handlers: this.#pending.popLast(count) }]);
    this.#requeue();
    this.#failPending(error);
    this.#hooks.down(error);
  }

  /** @internal */
  failed(error: RedisError): void {
    this.#lastError = error;
    this.#hooks.retry(error);
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
    const handler = this.#pending.take();
    if (this.#pending.length === 0) {
      if (this.#settled !== undefined) nextTick(this.#settled);
      if (this.#hold !== undefined) nextTick(() => this.#resume());
    }
    return handler;
  }
}

function outcomeUnknown(what: string, cause?: RedisError): RedisError {
  const reason = cause === undefined ? '' : `: ${cause.message}`;
  return new RedisError('REDIS_OUTCOME_UNKNOWN', `${what}; it may have been executed${reason}`, { cause });
}
