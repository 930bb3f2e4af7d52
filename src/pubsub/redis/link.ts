/**
 * One connection to Redis that is made again whenever it is lost: connecting, logging in, joined writes,
 * probing when silent. What is sent and what replies mean is its owner's matter (resp-client.ts and
 * resp-subscriber.ts).
 */

import { connect as connectTcp, type OnReadOpts, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { clearInterval, clearTimeout, monotonicNow, nextTick, setInterval, setTimeout } from '../../clock.ts';
import { delayOf } from '../../waiting.ts';
import { RedisError } from './errors.ts';
import { Login, type LoginResult } from './login.ts';
import { describeEndpoint, type ResolvedRedisOptions } from './options.ts';
import { encodeCommand, type RespArgument, RespEncoder } from './resp-encoder.ts';
import { type MessageKind, RespReader, type RespReply, type RespSink } from './resp-reader.ts';

export interface Endpoint {
  host?: string;
  port?: number;
  path?: string;
}

export interface LinkOwner extends RespSink {
  /** Logged in: what is sent from here on is answered in order. */
  ready(): void;
  /**
   * The connection is gone; the link is making another one.
   *
   * @param unwritten the last `count` commands, encoded: sent but never written, so certainly not executed
   */
  lost(error: RedisError, unwritten: Buffer, count: number): void;
  /** An attempt to connect failed; another follows. */
  failed(error: RedisError): void;
  /** The connection was silent for long: send something that is answered. */
  probe(): void;
}

export interface LinkSettings {
  /** Where to connect this time. Default: where the options say. */
  locate?: () => Promise<Endpoint>;
  /** Refuse a server whose ROLE is not this, and locate again. */
  role?: 'master';
  isSubscriber: boolean;
}

const READ_BUFFER_BYTES = 64 * 1024;

/** `ending`: was ready, and is being replaced. */
type State = 'idle' | 'connecting' | 'ready' | 'ending' | 'waiting' | 'closed';

export class RedisLink implements RespSink {
  readonly #owner: LinkOwner;
  readonly #options: ResolvedRedisOptions;
  readonly #settings: LinkSettings;
  #role: 'master' | undefined;
  readonly #encoder = new RespEncoder();
  readonly #reader: RespReader;
  readonly #readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
  readonly #flush = (): void => this.#write();
  #state: State = 'idle';
  #socket: Socket | undefined;
  /** Where the present or last attempt went. */
  #endpoint: Endpoint;
  /** Attempts since a connection last proved itself. */
  #attempt = 0;
  #readyAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #prober: NodeJS.Timeout | undefined;
  #isFlushScheduled = false;
  #unwritten = 0;
  /** Why the connection is being ended, where that is known before the socket says so. */
  #reason: RedisError | undefined;
  #lastRead = 0;
  #probedAt = 0;
  #checkedAt = 0;
  /** While logging in. */
  #login: Login | undefined;

  constructor(owner: LinkOwner, options: ResolvedRedisOptions, settings: LinkSettings) {
    this.#owner = owner;
    this.#options = options;
    this.#settings = settings;
    this.#role = settings.role;
    this.#endpoint = options;
    this.#reader = new RespReader(this, options);
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** `127.0.0.1:6379`, for messages. */
  get address(): string {
    return describeEndpoint(this.#endpoint);
  }

  /** Bytes that the socket has not yet been able to hand over. */
  get backlog(): number {
    return this.#socket?.writableLength ?? 0;
  }

  connect(): void {
    if (this.#state === 'idle') void this.#connect();
  }

  /** Sends a command with the others of this tick, while `isReady`. False if the connection has just ended. */
  send(args: readonly RespArgument[]): boolean {
    if (!this.#encoder.append(args)) {
      this.#write();
      if (this.#socket!.destroyed) return false;
      if (!this.#encoder.append(args)) {
        this.#socket!.write(encodeCommand(args));
        return true;
      }
    }
    this.#unwritten++;
    if (!this.#isFlushScheduled) this.#schedule();
    return true;
  }

  /** As `send`, for some commands that were encoded together. */
  sendTogether(bytes: Buffer, count: number): boolean {
    if (!this.#encoder.appendEncoded(bytes)) {
      this.#write();
      if (this.#socket!.destroyed) return false;
      if (!this.#encoder.appendEncoded(bytes)) {
        this.#socket!.write(bytes);
        return true;
      }
    }
    this.#unwritten += count;
    if (!this.#isFlushScheduled) this.#schedule();
    return true;
  }

  /** Sends what was encoded before, while `isReady`. False if the connection has just ended. */
  sendEncoded(bytes: Buffer): boolean {
    this.#write();
    if (this.#socket!.destroyed) return false;
    this.#socket!.write(bytes);
    return true;
  }

  /** From the next connection on: refuse a server that is none, and locate again. */
  requireMaster(): void {
    this.#role = 'master';
  }

  /** Ends the connection for a reason and makes another. */
  replace(reason: RedisError): void {
    this.#reason ??= reason;
    if (this.#state === 'ready') this.#state = 'ending';
    this.#socket?.destroy();
  }

  /** Ends it for good, at once. The owner isn't told. */
  close(): void {
    const wasReady = this.#state === 'ready';
    this.#state = 'closed';
    clearTimeout(this.#timer);
    clearInterval(this.#prober);
    if (wasReady) {
      this.#write();
      this.#socket!.destroySoon();
      // A peer that reads nothing would keep the socket, and with it the process, alive.
      this.#socket!.unref();
    } else {
      this.#socket?.destroy();
    }
  }

  async #connect(): Promise<void> {
    this.#state = 'connecting';
    this.#attempt++;
    this.#reason = undefined;
    try {
      if (this.#settings.locate !== undefined) this.#endpoint = await this.#settings.locate();
    } catch (error) {
      if (!this.isClosed) this.#retry(error as Error);
      return;
    }
    if (this.isClosed) return;
    const socket = this.#open();
    this.#socket = socket;
    this.#timer = setTimeout(() => {
      const seconds = this.#options.connectTimeout / 1000;
      this.replace(this.#connectionError(`did not answer within ${seconds} s`));
    }, this.#options.connectTimeout);
    socket.once(this.#options.tls ? 'secureConnect' : 'connect', () => this.#logIn(socket));
    socket.once('error', (error) => {
      this.#reason ??= this.#connectionError(explain(error), error);
    });
    socket.once('close', () => this.#closed(socket));
  }

  #open(): Socket {
    const { tls } = this.#options;
    const { path, host, port } = this.#endpoint;
    const target = path === undefined ? { host, port: port! } : { path };
    const onread: OnReadOpts = {
      buffer: this.#readBuffer,
      callback: (length) => {
        this.#read(length);
        return true;
      },
    };
    const common = { ...target, onread, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 };
    if (!tls) return connectTcp(common);
    const servername = host !== undefined && !/^[\d.]+$|:/.test(host) ? { servername: host } : {};
    return connectTls({ ...servername, ...(tls === true ? {} : tls), ...common } as ConnectionOptions);
  }

  #logIn(socket: Socket): void {
    this.#reader.reset();
    this.#reader.isSubscriber = false;
    this.#login = new Login(this.#options, this.#role);
    socket.write(this.#login.encode());
  }

  #loggedIn(result: LoginResult): void {
    if (result === undefined) return;
    if (result.done) this.#begin();
    else this.replace(this.#connectionError(result.why));
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#login = undefined;
    this.#state = 'ready';
    this.#reader.isSubscriber = this.#settings.isSubscriber;
    this.#lastRead = this.#checkedAt = this.#readyAt = monotonicNow();
    this.#probedAt = 0;
    const { probeInterval, probeTimeout } = this.#options;
    if (probeInterval > 0) {
      const period = Math.max(10, Math.min(probeInterval, probeTimeout) / 2);
      this.#prober = setInterval(() => this.#check(period), period).unref();
    }
    this.#owner.ready();
  }

  #check(period: number): void {
    const now = monotonicNow();
    // After a stall of this process the answer may be waiting in the kernel: look again next time.
    const stalled = now - this.#checkedAt > period * 2;
    this.#checkedAt = now;
    if (stalled) return;
    if (this.#probedAt > this.#lastRead) {
      if (now - this.#probedAt < this.#options.probeTimeout) return;
      this.replace(this.#connectionError(`has not answered for ${Math.round(now - this.#lastRead)} ms`));
    } else if (now - this.#lastRead >= this.#options.probeInterval) {
      this.#probedAt = now;
      this.#owner.probe();
    }
  }

  #schedule(): void {
    this.#isFlushScheduled = true;
    // Runs once the promises that this read or this tick settles have had their turn, and sent what they send.
    nextTick(this.#flush);
  }

  #write(): void {
    this.#isFlushScheduled = false;
    const encoder = this.#encoder;
    const socket = this.#socket;
    if (encoder.used === 0 || socket === undefined || socket.destroyed) return;
    socket.write(encoder.buffer.subarray(0, encoder.used));
    this.#unwritten = 0;
    // Written in full, the bytes are the kernel's and the slab is free; TLS may still hold on to them.
    if (socket.writableLength === 0 && !this.#options.tls) encoder.used = 0;
    else encoder.renew();
  }

  #read(length: number): void {
    this.#lastRead = monotonicNow();
    // What a connection being ended still brings belongs to nobody.
    if (this.#reason !== undefined || this.#state === 'closed') return;
    try {
      this.#reader.read(this.#readBuffer, length);
    } catch (error) {
      this.replace(
        error instanceof RedisError
          ? new RedisError(error.code, `Redis at ${this.address}: ${error.message}`, { cause: error })
          : this.#connectionError(`sent what could not be handled: ${(error as Error).message}`, error),
      );
    }
  }

  #closed(socket: Socket): void {
    if (this.#socket !== socket) return;
    clearTimeout(this.#timer);
    clearInterval(this.#prober);
    this.#socket = undefined;
    if (this.isClosed) return;
    const wasReady = this.#state === 'ready' || this.#state === 'ending';
    const reason = this.#reason ?? this.#connectionError('closed the connection');
    this.#reason = undefined;
    if (!wasReady) {
      this.#retry(reason);
      return;
    }
    // One that is lost over and over is waited for longer and longer, whether or not one could log in.
    if (monotonicNow() - this.#readyAt >= this.#options.reconnectMaxDelay) this.#attempt = 0;
    const unwritten = Buffer.from(this.#encoder.buffer.subarray(0, this.#encoder.used));
    const count = this.#unwritten;
    this.#encoder.used = 0;
    this.#unwritten = 0;
    this.#state = 'waiting';
    // Scheduled first: the owner may close the link when it hears of the loss.
    this.#wait(this.#delay());
    this.#owner.lost(reason, unwritten, count);
  }

  #retry(reason: Error): void {
    const delay = this.#delay();
    this.#state = 'waiting';
    this.#wait(delay);
    const when = `retrying in ${(delay / 1000).toFixed(1)} s (attempt ${this.#attempt})`;
    this.#owner.failed(new RedisError('REDIS_CONNECTION', `${reason.message}; ${when}`, { cause: reason }));
  }

  #delay(): number {
    const { reconnectMinDelay, reconnectMaxDelay } = this.#options;
    return delayOf(this.#attempt, { min: reconnectMinDelay, max: reconnectMaxDelay });
  }

  #wait(delay: number): void {
    this.#timer = setTimeout(() => void this.#connect(), delay);
  }

  #connectionError(what: string, cause?: unknown): RedisError {
    return new RedisError('REDIS_CONNECTION', `Redis at ${this.address} ${what}`, { cause });
  }

  // ── replies: those to the login are the link's, all others the owner's ──

  reply(value: RespReply): void {
    if (this.#state === 'ready') this.#owner.reply(value);
    else if (this.#reason === undefined) this.#loggedIn(this.#login?.reply(value));
  }

  replyError(message: string): void {
    if (this.#state === 'ready') this.#owner.replyError(message);
    else if (this.#reason === undefined) this.#loggedIn(this.#login?.replyError(message));
  }

  replyTooLong(limit: number): void {
    if (this.#state === 'ready') this.#owner.replyTooLong(limit);
    else this.replace(this.#connectionError(`answered the login with more than ${limit} bytes`));
  }

  messageTooLong(kind: MessageKind, name: string, limit: number): void {
    this.#owner.messageTooLong(kind, name, limit);
  }

  wantsBuffers(): boolean {
    return this.#state === 'ready' && this.#owner.wantsBuffers();
  }

  message(
    kind: MessageKind,
    channel: string,
    bytes: Buffer,
    start: number,
    end: number,
    pattern: string,
  ): void {
    this.#owner.message(kind, channel, bytes, start, end, pattern);
  }
}

function explain(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'refused the connection';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'reset the connection';
    case 'ETIMEDOUT':
      return 'did not answer';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'is not to be found: its name does not resolve';
    case 'ENOENT':
      return 'is not there: no such socket file';
    default:
      return `can't be reached: ${error.message}`;
  }
}
