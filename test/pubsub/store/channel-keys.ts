/** What Redis keeps of a channel, lost, kept aside and brought back in one step each, as with a snapshot. */
import type { RespClient } from '../../../src/pubsub/redis/resp-client.ts';

const COPY_ALL = `for i = 1, #KEYS, 2 do
  redis.call('DEL', KEYS[i + 1])
  redis.call('COPY', KEYS[i], KEYS[i + 1])
end`;

/** In order: the first is there whenever anything is. */
export const keysOf = (channel: string): string[] =>
  ['top', 'list', 'marks', 'keys', 'ttl'].map((name) => `{tidings:${channel}}:${name}`);

const savedKey = (key: string): string => key.replace('}', '}:saved');

export async function saveKeys(client: RespClient, channel: string): Promise<void> {
  await copyAll(
    client,
    keysOf(channel).map((key) => [key, savedKey(key)]),
  );
}

/** Whether there was something to come back to. */
export async function rewindKeys(client: RespClient, channel: string): Promise<boolean> {
  const keys = keysOf(channel);
  if ((await client.command('EXISTS', savedKey(keys[0]!))) === 0) return false;
  await copyAll(
    client,
    keys.map((key) => [savedKey(key), key]),
  );
  return true;
}

/** In one step, as a server may settle what has expired at any moment. */
async function copyAll(client: RespClient, pairs: [string, string][]): Promise<void> {
  const keys = pairs.flat();
  await client.command('EVAL', COPY_ALL, String(keys.length), ...keys);
}
