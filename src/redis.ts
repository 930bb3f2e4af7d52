/**
 * `tidings/redis`: a Redis client for commands, scripts and subscriptions, without any push server.
 *
 * @module tidings/redis
 */
export {
  RedisError,
  type RedisErrorCode,
  RedisReplyError,
  wasNotExecuted,
} from './pubsub/redis/errors.ts';
export { parseRedisUrl, type RedisOptions } from './pubsub/redis/options.ts';
export type { ReplyHandler } from './pubsub/redis/reply-handlers.ts';
export {
  type MessageListener,
  RespClient,
  type RespClientEvents,
} from './pubsub/redis/resp-client.ts';
export type { RespArgument } from './pubsub/redis/resp-encoder.ts';
export type { RespReply } from './pubsub/redis/resp-reader.ts';
export { Script } from './pubsub/redis/script.ts';
