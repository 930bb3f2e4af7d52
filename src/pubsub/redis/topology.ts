/**
 * What the broker needs of Redis, whatever its form: one server, a master found through Sentinels, a Cluster.
 * A key says which node a command is for.
 */
import type { RedisError } from './errors.ts';
import type { Replicated } from './replication.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';
import type { Script } from './script.ts';

/** What a topology tells. It says what is so, as often as it likes; availability.ts says what that means. */
export interface TopologyHooks {
  /** A message on a channel of the bus: bytes[start, end), valid during the call. */
  message(busChannel: string, bytes: Buffer, start: number, end: number): void;
  /** A connection that carries commands or subscriptions was lost, or can't be made. */
  lost(error: RedisError): void;
  /** All of them are there, and every subscription is in force. */
  whole(): void;
  /** The subscription of this one channel is on its way to another server: messages are missing from here on. */
  moving(busChannel: string): void;
  /** Messages of this one channel were missed, and its subscription is in force (again). */
  missed(busChannel: string): void;
}

export interface ScriptCall {
  script: Script;
  /** All of one slot. */
  keys: readonly string[];
  args: readonly RespArgument[];
  /** Strings of the reply as Buffers. */
  returnBuffers?: boolean;
}

export interface RedisTopology {
  /** The command that rings doorbells. SPUBLISH goes to the channel's own node only. */
  readonly publishCommand: 'PUBLISH' | 'SPUBLISH';

  /** Number for SELECT: channels on the bus know of no databases. */
  readonly database: number;
  /** Which servers, for messages. */
  readonly address: string;

  /** In a Cluster, what the keys of one call have in common; `undefined` where any keys may be in one. */
  slotOf(key: string): number | undefined;

  /** Begins to connect, and to tell. */
  open(hooks: TopologyHooks): void;

  /** Replies and messages may have so many bytes. */
  acceptReplies(bytes: number): void;

  evaluate(call: ScriptCall): Promise<RespReply>;
  /** @param key says which node it is for */
  command(key: string, args: readonly [name: string, ...RespArgument[]]): Promise<RespReply>;

  /** As `command`, with strings of the reply as Buffers. */
  commandBuffers(key: string, args: readonly [name: string, ...RespArgument[]]): Promise<RespReply>;

  /**
   * Commands that are executed together, nothing in between (MULTI). Strings of the replies are Buffers.
   *
   * @param key says which node they are for
   * @throws {RedisReplyError} what one of them was answered in place of a reply
   */
  transaction(
    key: string,
    commands: readonly (readonly [name: string, ...RespArgument[]])[],
  ): Promise<RespReply[]>;

  /**
   * Waits for replicas, on a connection that nothing else has to wait on: see `Replication.confirm`.
   *
   * @returns how many are known to have the message when enough have it, or the time is over
   */
  replicated(message: Replicated, replicas: number, timeout: number): Promise<number>;

  /** A command that blocks, on a connection kept for it under `purpose`. Strings of the reply are Buffers. */
  blocking(
    purpose: string,
    key: string,
    args: readonly [name: string, ...RespArgument[]],
  ): Promise<RespReply>;

  subscribe(busChannel: string): Promise<void>;
  unsubscribe(busChannel: string): Promise<void>;

  close(): Promise<void>;
}
