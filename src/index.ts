/**
 * `tidings`: the push server and what it is put together from.
 *
 * @module tidings
 */

export * from './metrics/index.ts';
export type { PostgresAddress, PostgresTarget } from './pubsub/postgres/options.ts';
export type { ClusterTarget } from './pubsub/redis/cluster.ts';
export type { SentinelTarget } from './pubsub/redis/sentinel.ts';
export type { RedisTarget } from './pubsub/redis/target.ts';
export type { Attendance } from './pubsub/store/attendance.ts';
export type * from './pubsub/store/broker.ts';
export { DamagedChannelError, ReplicationError } from './pubsub/store/broker.ts';
export { type ControlLog, UnconfirmedError } from './pubsub/store/control.ts';
export type { Counts, MarkAs } from './pubsub/store/marks.ts';
export { MemoryStore, memoryBroker } from './pubsub/store/memory-broker.ts';
export { type PostgresBrokerOptions, postgresBroker } from './pubsub/store/postgres-broker.ts';
export { type RedisBrokerOptions, redisBroker } from './pubsub/store/redis-broker.ts';
export type { Schedule } from './pubsub/store/schedule.ts';
export * from './push/index.ts';
export type {
  Attributes,
  Handler,
  HandshakeRequest,
  Interceptor,
  SendResult,
  Transport,
} from './server/transport.ts';
export * from './sources/index.ts';
