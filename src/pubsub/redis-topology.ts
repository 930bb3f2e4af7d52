/**
 * What the broker needs of Redis, whatever its form: one server, a master found through Sentinels, a Cluster.
 * A key says which node a command is for.
 */
import type { RedisError } from './redis-errors.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';
import type { Script } from './script.ts';

export interface TopologyHooks {
  /** A message on a channel of the bus: bytes[start, end), valid during the call. */
  message(busChannel: string, bytes: Buffer, start: number, end: number): void;
  /** A connection that carries commands or subscriptions was lost. */
  down(error: RedisError): void;
  /** All of them are there again, and every subscription is in force. */
  up(): void;
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

  /** Resolves when all is connected for the first time. */
  open(hooks: TopologyHooks): Promise<void>;

  evaluate(call: ScriptCall): Promise<RespReply>;
  /** @param key says which node it is for */
  command(key: string, args: readonly [name: string, ...RespArgument[]]): Promise<RespReply>;

  /**
   * As `evaluate`, then WAIT for replicas, on a connection that nothing else has to wait on.
   *
   * @returns the script's reply, and how many replicas confirmed in time
   */
  evaluateReplicated(call: ScriptCall, replicas: number, timeout: number): Promise<[RespReply, number]>;

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
