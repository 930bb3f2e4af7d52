/** The cursors of a channel's devices in Redis: what each of them has acknowledged. */
import type { Cursor } from './broker.ts';
import { channelScript, type RedisChannels } from './redis-channels.ts';
import { ACK_MAGIC, bounded, LONGEST } from './redis-layout.ts';

const acknowledgeScript = channelScript('acknowledge');

/** Devices of a user whose cursors are kept. */
const MAX_DEVICES = 32;

export class RedisDevices {
  readonly #channels: RedisChannels;

  constructor(channels: RedisChannels) {
    this.#channels = channels;
  }

  /** As Broker.acknowledge. */
  async acknowledge({ channel, device, position }: Cursor, ttl: number): Promise<void> {
    const keys = this.#channels.keys(channel);
    const { epoch, offset, id } = position;
    const { publishCommand } = this.#channels.topology;
    await this.#channels.about(
      'acknowledge',
      channel,
      this.#channels.topology.evaluate({
        script: acknowledgeScript,
        keys: [keys.top, keys.list, keys.devices],
        args: [
          device,
          epoch,
          offset,
          id,
          bounded(ttl, LONGEST),
          MAX_DEVICES,
          publishCommand,
          keys.bus,
          ACK_MAGIC,
        ],
      }),
    );
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
