/** Who sends to the pages: through Redis, from a process that has no page itself. */
import { PushServer, redisBroker } from '../../src/index.ts';
import type { SenderKind } from './job.ts';

export interface Message {
  n: number;
  t: number;
  padding: string;
}

export interface Sender {
  toUser(user: string, message: Message): Promise<unknown>;
  toTopic(topic: string, message: Message): Promise<unknown>;
}

/** @param fail is told of anything that is not as it should be */
export async function senderOf(kind: SenderKind, url: string, fail: (error: Error) => void): Promise<Sender> {
  if (kind === 'push') {
    const push = new PushServer({
      broker: redisBroker(url, { intake: false }),
      log: (level, message) => {
        if (level !== 'info') fail(new Error(`the sender's log: ${message}`));
      },
    });
    await push.ready;
    return {
      toUser: (user, message) => push.send(user, message),
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
