/** Who sends to the pages: through Redis, from a process that has no page itself. */
import { type PublishSettings, PushServer, redisBroker } from '../../src/index.ts';
import type { SenderKind } from './job.ts';

export interface Message {
  n: number;
  t: number;
  padding: string;
}

export interface Sender {
  /** Once the server is warm, before anything is measured. */
  prepare?(users: string[]): Promise<void>;
  toUser(user: string, message: Message): Promise<unknown>;
  toTopic(topic: string, message: Message): Promise<unknown>;
}

const HOUR = 3_600_000;

function lifeOf(kind: SenderKind, { n }: Message): PublishSettings {
  if (kind === 'push-ttl') return { ttl: HOUR };
  if (kind === 'push-keys') return { replaces: `key ${n}` };
  return kind === 'push-replaces' ? { replaces: 'key' } : {};
}

/** All is read, but for two, of which one is archived. */
async function mark(push: PushServer, users: string[]): Promise<void> {
  for (const user of users) {
    const { messages } = await push.inbox(user, { limit: 2 });
    await push.mark(user, { as: 'read' });
    await push.mark(user, { as: 'unread', ids: messages.map(({ id }) => id) });
    await push.mark(user, { as: 'archived', ids: messages.slice(0, 1).map(({ id }) => id) });
  }
}

/** @param fail is told of anything that is not as it should be */
export async function senderOf(kind: SenderKind, url: string, fail: (error: Error) => void): Promise<Sender> {
  if (kind.startsWith('push')) {
    const push = new PushServer({
      broker: redisBroker(url, { intake: false }),
      log: (level, message) => {
        if (level !== 'info') fail(new Error(`the sender's log: ${message}`));
      },
    });
    await push.ready;
    return {
      ...(kind === 'push-marks' && { prepare: (users: string[]) => mark(push, users) }),
      toUser: (user, message) => push.send(user, message, lifeOf(kind, message)),
      toTopic: (topic, message) => push.publish(topic, message),
    };
  }
  if (kind === 'ioredis') {
    const { Redis } = await import('ioredis');
    const address = new URL(url);
    const redis = new Redis(Number(address.port), address.hostname);
    redis.on('error', fail);
    return {
      toUser: (user, message) => redis.publish(`user:${user}`, JSON.stringify(message)),
      toTopic: (topic, message) => redis.publish(`topic:${topic}`, JSON.stringify(message)),
    };
  }
  const { Server } = await import('socket.io');
  const { redisAdapter } = await import('../peers/socketio-adapter.ts');
  const io = new Server({ adapter: await redisAdapter(url, kind === 'socket.io-streams', fail) });
  const to = async (room: string, message: Message): Promise<void> => {
    io.to(room).emit('m', message);
  };
  return {
    toUser: (user, message) => to(`user:${user}`, message),
    toTopic: (topic, message) => to(`topic:${topic}`, message),
  };
}
