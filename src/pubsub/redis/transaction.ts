/** Commands that Redis executes together, in one round trip: MULTI … EXEC. */
import { type RedisError, RedisReplyError } from './errors.ts';
import type { ReplyHandler } from './reply-handlers.ts';
import type { RespClient } from './resp-client.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';

/**
 * Strings of the replies are Buffers.
 *
 * @param isAsking to a node that is taking the slot over
 * @throws {RedisReplyError} what one of the commands was answered in place of a reply, or EXEC
 */
export function transaction(
  client: RespClient,
  commands: readonly (readonly [string, ...RespArgument[]])[],
  isAsking = false,
): Promise<RespReply[]> {
  return new Promise((resolve, reject) => {
    const all = [['MULTI'], ...commands, ['EXEC']];
    if (isAsking) all.unshift(['ASKING']);
    // The first refusal says why; EXEC only that there was one. A promise takes the first that comes.
    const queued: ReplyHandler = { command: 'MULTI', reply() {}, failed: reject };
    const executed: ReplyHandler = {
      command: 'EXEC',
      returnBuffers: true,
      reply(value) {
        const replies = value as RespReply[];
        const error = replies.find((reply) => reply instanceof Error);
        if (error === undefined) resolve(replies);
        else reject(new RedisReplyError((error as Error).message, 'EXEC'));
      },
      failed: (error: RedisError) => reject(error),
    };
    const handlers: ReplyHandler[] = new Array(all.length - 1).fill(queued);
    client.sendTogether([...handlers, executed], all);
  });
}
