/** The cursors of a channel's devices in Redis: what each of them has acknowledged. */
import { RedisReplyError } from '../redis/errors.ts';
import type { Cursor } from './broker.ts';
import { JoinedCalls, type Part } from './joined-calls.ts';
import { channelScript, type RedisChannels } from './redis-channels.ts';
import { ACK_MAGIC, bounded, type ChannelKeys, LONGEST } from './redis-layout.ts';

const acknowledgeScript = channelScript('acknowledge');

/** Devices of a user whose cursors are kept. */
const MAX_DEVICES = 32;
/** Bytes that a cursor is taken to have in a call. */
const CURSOR_BYTES = 400;

interface Move extends Part {
  keys: ChannelKeys;
  cursor: Cursor;
  ttl: number;
}

export class RedisDevices {
  readonly #channels: RedisChannels;
  readonly #calls = new JoinedCalls<Move, number | Error>((moves) => this.#move(moves));

  constructor(channels: RedisChannels) {
    this.#channels = channels;
  }

  /** As Broker.acknowledge. What is acknowledged in one turn goes in one call to each node. */
  acknowledge(cursor: Cursor, ttl: number): Promise<void> {
    const { channel } = cursor;
    return this.#channels.about('acknowledge', channel, this.#acknowledge(cursor, ttl));
  }

  async #acknowledge(cursor: Cursor, ttl: number): Promise<void> {
    const keys = this.#channels.keys(cursor.channel);
    const slot = this.#channels.topology.slotOf(keys.top);
    const reply = await this.#calls.add(slot, { keys, cursor, ttl, count: 1, bytes: CURSOR_BYTES });
    if (reply instanceof Error) throw new RedisReplyError(reply.message, 'EVALSHA');
  }

  /** One call for all that goes to one node. */
  async #move(moves: Move[]): Promise<(number | Error)[]> {
    const { topology } = this.#channels;
    const keys: string[] = [];
    const args: (string | number)[] = [MAX_DEVICES, topology.publishCommand, ACK_MAGIC];
    for (const { keys: own, cursor, ttl } of moves) {
      const { epoch, offset, id } = cursor.position;
      keys.push(own.top, own.list, own.devices);
      args.push(cursor.device, `${epoch} ${offset} ${id}`, bounded(ttl, LONGEST), own.bus);
    }
    return (await topology.evaluate({ script: acknowledgeScript, keys, args })) as (number | Error)[];
  }

  /** As Broker.cursors. */
  async cursors(channel: string): Promise<Cursor[]> {
    const { devices } = this.#channels.keys(channel);
    const asked = this.#channels.topology.command(devices, ['HGETALL', devices]);
    const reply = (await this.#channels.about('cursors', channel, asked)) as string[];
    return decodeCursors(channel, reply);
  }
}

/** @param reply what HGETALL gives for a channel's devices */
export function decodeCursors(channel: string, reply: readonly (string | Buffer)[]): Cursor[] {
  const now = Date.now();
  const result: Cursor[] = [];
  for (let i = 0; i + 1 < reply.length; i += 2) {
    const [expires, epoch, offset, id] = String(reply[i + 1]!).split(' ');
    // What is none was not written here, and moves nothing.
    if (epoch === undefined || id === undefined || !Number.isSafeInteger(Number(offset))) continue;
    if (!(Number(expires) > now)) continue;
    result.push({ channel, device: String(reply[i]!), position: { epoch, offset: Number(offset), id } });
  }
  return result;
}
