/** Where the instances of a stage keep things, as it is said to a program. */
import { redisBroker } from '../../src/index.ts';
import type { RedisTarget } from '../../src/pubsub/redis/target.ts';
import type { Broker, BrokerListener } from '../../src/pubsub/store/broker.ts';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { postgresBroker } from '../../src/pubsub/store/postgres-broker.ts';

/** `memory` is that of one instance. */
export const storeKinds = ['redis', 'postgres', 'cluster', 'memory'] as const;
export type StoreKind = (typeof storeKinds)[number];

/** As JSON, for a program. */
export type StoreTarget =
  | { kind: 'redis'; target: RedisTarget }
  | { kind: 'postgres'; target: string }
  | { kind: 'memory' };

/** Impatient, as what is broken here is soon well again. */
const QUICK = { reconnectMinDelay: 20, reconnectMaxDelay: 500, probeInterval: 1000, probeTimeout: 1000 };

export function brokerOf(store: StoreTarget): Broker {
  if (store.kind === 'memory') return memoryBroker();
  if (store.kind === 'redis') return redisBroker(store.target, { ...QUICK, commandTimeout: 3000 });
  return postgresBroker(store.target, { ...QUICK, statementTimeout: 3000 });
}

const silent: BrokerListener = { message() {}, transient() {}, acknowledged() {}, down() {}, up() {} };

/** A broker of another program's, which takes nothing in and listens to nothing. */
export async function foreignBroker(store: StoreTarget): Promise<Broker> {
  if (store.kind === 'memory') throw new TypeError('no other program reaches the memory of an instance');
  const soon = { reconnectMaxDelay: 100 };
  const broker =
    store.kind === 'redis'
      ? redisBroker(store.target, { ...soon, intake: false })
      : postgresBroker(store.target, soon);
  await broker.open(silent);
  return broker;
}
