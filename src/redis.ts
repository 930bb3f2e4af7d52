/** `tidings/redis`: a Redis client for commands, scripts and subscriptions, without any push server. */
export {
  RedisError,
  type RedisErrorCode,
  RedisReplyError,
  wasNotExecuted,
} from './pubsub/redis-errors.ts';
export { parseRedisUrl, type RedisOptions } from './pubsub/redis-options.ts';
export type { ReplyHandler } from './pubsub/reply-handlers.ts';
export {
  type MessageListener,
  RespClient,
  type RespClientEvents,
} from './pubsub/resp-client.ts';
export type { RespArgument } from './pubsub/resp-encoder.ts';
export type { RespReply } from './pubsub/resp-reader.ts';
export { Script } from './pubsub/script.ts';
