/** Brokers over a Redis, which are closed behind each test. */
import type { RedisTarget } from '../../../src/pubsub/redis/target.ts';
import type { Broker, BrokerListener } from '../../../src/pubsub/store/broker.ts';
import { type RedisBrokerOptions, redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { cleanups } from '../../support/cleanups.ts';
import { Recorder } from './broker-suite.ts';

/** Back at once. */
export const soon = { reconnectMinDelay: 10, reconnectMaxDelay: 100 };
/** And never out of patience with a machine that is slow. */
export const fast = { ...soon, publishMaxWait: 120_000 };

export function make(target: RedisTarget, more: RedisBrokerOptions = {}): Broker {
  const broker = redisBroker(target, { ...fast, ...more });
  cleanups.push(() => broker.close());
  return broker;
}

/** @param listener what the recorder does in another way, or besides */
export async function open(
  target: RedisTarget,
  more: RedisBrokerOptions = {},
  listener: Partial<BrokerListener> = {},
): Promise<[Broker, Recorder]> {
  const recorder = Object.assign(new Recorder(), listener);
  const broker = make(target, more);
  await broker.open(recorder);
  return [broker, recorder];
}
