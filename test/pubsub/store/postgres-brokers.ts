/** Brokers over a PostgreSQL, which are closed behind each test. */
import type { Broker, BrokerListener } from '../../../src/pubsub/store/broker.ts';
import { type PostgresBrokerOptions, postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';
import { cleanups } from '../../support/cleanups.ts';
import { Recorder } from './broker-suite.ts';

/** Back at once, and never out of patience with a machine that is slow. */
export const fast = { reconnectMinDelay: 10, reconnectMaxDelay: 100, publishMaxWait: 120_000 };

/** @param listener what the recorder does in another way, or besides */
export async function open(
  url: string,
  more: PostgresBrokerOptions = {},
  listener: Partial<BrokerListener> = {},
): Promise<[Broker, Recorder]> {
  const recorder = Object.assign(new Recorder(), listener);
  const broker = postgresBroker(url, { ...fast, ...more });
  cleanups.push(() => broker.close());
  await broker.open(recorder);
  return [broker, recorder];
}
