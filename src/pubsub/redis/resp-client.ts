/**
 * The Redis client: any command over one connection (resp-commands.ts), and subscriptions over another, made with the
 * first of them (resp-subscriber.ts).
 */

import { EventEmitter } from 'node:events';
import { RedisError } from './errors.ts';
import type { LinkSettings } from './link.ts';
import { type RedisOptions, type ResolvedRedisOptions, resolveRedisOptions } from './options.ts';
import { PromisedReply, type ReplyHandler } from './reply-handlers.ts';
import { type CommandHooks, RespCommands } from './resp-commands.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';
import { RespSubscriber } from './resp-subscriber.ts';
import type { Script } from './script.ts';
import { ScriptReply } from './script-reply.ts';
import type { RawListener } from './subscription.ts';

/** Events of a RespClient. */
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
export class RespClient extends EventEmitter<RespClientEvents> {
  /** What it was made with, defaults filled in. */
  readonly options: Readonly<ResolvedRedisOptions>;
  readonly #settings: Pick<LinkSettings, 'locate' | 'role'>;
  readonly #commands: RespCommands;
  readonly #connecting = new Set<(error: Error) => void>();
  #closing: Promise<void> | undefined;
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
    const hooks: CommandHooks = {
      ready: () => this.emit('ready'),
      down: (error) => this.emit('down', error),
      retry: (error) => this.emit('retry', error),
    };
    this.#commands = new RespCommands(this.options, hooks, settings);
  }

  /** True while commands go straight to Redis. */
  get isReady(): boolean {
    return this.#commands.isReady;
  }

  /** True while there is a connection that is logged in. */
  get isConnected(): boolean {
    return this.#commands.isConnected;
  }

  /** The server, for messages: `127.0.0.1:6379`. */
  get address(): string {
    return this.#commands.address;
  }

  /** Lets replies, and messages of subscriptions, have so many bytes. */
  acceptReplies(bytes: number): void {
    (this.options as ResolvedRedisOptions).maxReplySize = bytes;
  }

  /** Commands written and not yet answered. */
  get pendingCommands(): number {
    return this.#commands.pending;
  }

  /** Why there is no connection, while there is none. */
  get lastError(): RedisError | undefined {
    return this.#commands.lastError;
  }

  /**
   * Resolves when connected. Failed attempts are repeated, and told as `retry` events, until one succeeds.
   *
   * @throws {RedisError} `REDIS_CLOSED` if `close()` comes first
   */
  async connect(): Promise<void> {
    if (this.#closing !== undefined) throw this.#closedError();
    if (this.isReady) return;
    this.#commands.connect();
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
    return new ScriptReply(this.#commands, script, keys, args, false).promise;
  }

  /** As `evaluate`, with every string of the reply as a Buffer. */
  evaluateBuffers(
    script: Script,
    keys: readonly string[],
    args: readonly RespArgument[],
  ): Promise<RespReply> {
    return new ScriptReply(this.#commands, script, keys, args, true).promise;
  }

  /**
   * The way of every command, without a promise: `handler` is told the reply, in the order of sending, or the
   * failure. `args` begins with the command's name.
   */
  send(handler: ReplyHandler, args: readonly RespArgument[]): void {
    this.#commands.send(handler, args);
  }

  /** As `send`, for commands that nothing may come between, and of which none may be sent without the others. */
  sendTogether(handlers: readonly ReplyHandler[], commands: readonly (readonly RespArgument[])[]): void {
    this.#commands.sendTogether(handlers, commands);
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

  /** Takes all listeners off these channels; resolves when Redis has confirmed it. */
  async unsubscribe(channels: string | readonly string[]): Promise<void> {
    await this.#subscriber?.unsubscribe('channel', channels);
  }

  /** As `subscribe`, for all channels that match a pattern (PSUBSCRIBE). */
  async psubscribe(patterns: string | readonly string[], listener: MessageListener<string>): Promise<void> {
    await this.subscriber.subscribe('pattern', patterns, decoding(listener));
  }

  /** Takes all listeners off these patterns. */
  async punsubscribe(patterns: string | readonly string[]): Promise<void> {
    await this.#subscriber?.unsubscribe('pattern', patterns);
  }

  /** As `subscribe`, for sharded channels of Redis 7 and later (SSUBSCRIBE). */
  async ssubscribe(channels: string | readonly string[], listener: MessageListener<string>): Promise<void> {
    await this.subscriber.subscribe('shard', channels, decoding(listener));
  }

  /** Takes all listeners off these sharded channels. */
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
   * Takes no more commands, waits a second at most for the replies of those already written, and disconnects. Who has
   * got none by then rejects with `REDIS_OUTCOME_UNKNOWN`, and commands still waiting for a connection with `REDIS_CLOSED`.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const error = this.#closedError();
    for (const failed of this.#connecting) failed(error);
    this.#connecting.clear();
    await this.#commands.close();
    await this.#subscriber?.close();
  }

  #closedError(): RedisError {
    return new RedisError('REDIS_CLOSED', `the client of Redis at ${this.address} is closed`);
  }

  /** Drops the connection and makes another, for one that answers but must not be used: a demoted master. */
  reconnect(reason: string): void {
    this.#commands.reconnect(reason);
  }
}
