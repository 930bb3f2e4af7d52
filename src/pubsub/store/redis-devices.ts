/** The cursors of a channel's devices in Redis: what each of them has acknowledged. */
import { RedisReplyError } from '../redis/errors.ts';
import { bounded, LONGEST, MAX_DEVICES } from './bounds.ts';
import type { Cursor } from './broker.ts';
import { channelScript, type RedisChannels } from './redis-channels.ts';
import { ACK_MAGIC } from './redis-doorbells.ts';
import type { ChannelKeys } from './redis-layout.ts';

const acknowledgeScript = channelScript('acknowledge');

/** Cursors in one call, which Redis does nothing else beside. */
const AT_ONCE = 64;

export class RedisDevices {
  readonly #channels: RedisChannels;

  constructor(channels: RedisChannels) {
    this.#channels = channels;
  }

  /** As Broker.acknowledgeAll: calls for each node, of which none waits for another. */
  acknowledgeAll(
    cursors: readonly Cursor[],
    ttl: number,
    done: (index: number, error: unknown) => void,
  ): void {
    const open = new Map<number | undefined, Call>();
    const calls: Call[] = [];
    for (const [i, { channel }] of cursors.entries()) {
      const keys = this.#channels.keys(channel);
      const slot = this.#channels.topology.slotOf(keys.top);
      let call = open.get(slot);
      if (call === undefined || call.indexes.length === AT_ONCE) {
        call = { indexes: [], keys: [] };
        open.set(slot, call);
        calls.push(call);
      }
      call.indexes.push(i);
      call.keys.push(keys);
    }
    for (const call of calls) void this.#move(cursors, call, ttl, done);
  }

  async #move(
    cursors: readonly Cursor[],
    { indexes, keys: own }: Call,
    ttl: number,
    done: (index: number, error: unknown) => void,
  ): Promise<void> {
    const { topology } = this.#channels;
    const keys: string[] = [];
    const args: (string | number)[] = [
      MAX_DEVICES,
      topology.publishCommand,
      ACK_MAGIC,
      bounded(ttl, LONGEST),
    ];
    for (const [i, index] of indexes.entries()) {
      const { device, position } = cursors[index]!;
      const { top, list, devices, bus } = own[i]!;
      keys.push(top, list, devices);
      args.push(device, `${position.epoch} ${position.offset} ${position.id}`, bus);
    }
    let replies: unknown[] = [];
    let failure: unknown;
    try {
      replies = (await topology.evaluate({ script: acknowledgeScript, keys, args })) as unknown[];
    } catch (error) {
      failure = error;
    }
    for (const [i, index] of indexes.entries()) {
      const reply = replies[i];
      const error = reply instanceof Error ? new RedisReplyError(reply.message, 'EVALSHA') : failure;
      done(index, this.#channels.outcome('acknowledge', cursors[index]!.channel, error));
    }
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

/** Cursors whose keys are in one slot, by their places. */
interface Call {
  indexes: number[];
  keys: ChannelKeys[];
}
