/** What can go wrong with Redis, and whether a command may have been executed nevertheless. */

/** An error of the Redis client. Messages name the server and what to do, and hold no password. */
export class RedisError extends Error {
  /** One of the codes in `RedisErrorCode`. */
  readonly code: RedisErrorCode;

  constructor(code: RedisErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RedisError';
    this.code = code;
  }
}

/** What went wrong, as `error.code`. */
export type RedisErrorCode =
  /** Redis answered with an error: see `RedisReplyError`. */
  | 'REDIS_REPLY'
  /** Not connected, and not within the time that commands may wait: nothing was sent. */
  | 'REDIS_UNAVAILABLE'
  /** The queue of waiting commands is full: nothing was sent. */
  | 'REDIS_QUEUE_FULL'
  /** The connection dropped, or no reply came in time, after the command was written: it may have been executed. */
  | 'REDIS_OUTCOME_UNKNOWN'
  /** The client was closed: nothing was sent. */
  | 'REDIS_CLOSED'
  /** The connection ended or could not be made; the client connects again by itself. */
  | 'REDIS_CONNECTION'
  /** What came is not RESP2. */
  | 'REDIS_PROTOCOL'
  /** The store is written by a newer tidings, in a way that this one does not know. */
  | 'REDIS_LAYOUT'
  /** The command was executed, and its reply, being longer than `maxReplySize`, passed over. */
  | 'REDIS_REPLY_TOO_LONG';

/** Redis executed nothing and said why, such as `WRONGTYPE Operation against a key …`. */
export class RedisReplyError extends RedisError {
  /** The first word of the reply: `ERR`, `WRONGTYPE`, `NOSCRIPT`, `MOVED` … */
  readonly prefix: string;
  /** The whole reply, without what this client adds to the message. */
  readonly reply: string;

  constructor(reply: string, command = '') {
    super('REDIS_REPLY', command === '' ? reply : `${reply} (answer to ${command})`);
    this.name = 'RedisReplyError';
    this.reply = reply;
    // Before Redis 7, what a command within a script answered stands in the middle of the script's own error.
    const [, inner] = /@user_script: ?\d+: -?([A-Z]{3,})\b/.exec(reply) ?? [];
    const end = reply.indexOf(' ');
    this.prefix = inner ?? (end === -1 ? reply : reply.slice(0, end));
  }
}

/** True if the command that failed with this error was certainly not executed, so that it may be sent again. */
export function wasNotExecuted(error: unknown): boolean {
  if (error instanceof RedisReplyError) return REFUSED.has(error.prefix);
  if (!(error instanceof RedisError)) return false;
  return ['REDIS_UNAVAILABLE', 'REDIS_QUEUE_FULL', 'REDIS_CLOSED'].includes(error.code);
}

/** True for a failure of the link or of a server that can't serve just now, of whatever was asked. */
export function mayPass(error: unknown): boolean {
  return wasNotExecuted(error) || (error instanceof RedisError && error.code !== 'REDIS_REPLY');
}

/** Replies of a server that can't serve just now, or no longer, and did nothing. */
const REFUSED = new Set([
  'LOADING',
  'READONLY',
  'MASTERDOWN',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'MOVED',
  'ASK',
  'BUSY',
  'NOREPLICAS',
  'MISCONF',
  'OOM',
]);

/** True for a command that this server does not have (any more, as it was renamed), or that its user may not give. */
export function isForbidden(error: unknown): boolean {
  return error instanceof RedisReplyError && isForbiddenReply(error.reply);
}

export function isForbiddenReply(reply: string): boolean {
  return /^(?:NOPERM|ERR (?:unknown (?:command|subcommand)|the user executing the script can't))/i.test(
    reply,
  );
}
