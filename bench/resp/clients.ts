/** Redis clients as the RESP rows drive them: publish with a callback, or count what a subscription receives. */
import { connect } from 'node:net';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import RedisParser from 'redis-parser';
import { RespClient } from '../../src/redis.ts';

export interface Publisher {
  /** `done` with the reply: how many have got it. */
  publish(channel: string, payload: string, done: (receivers: unknown) => void): void;
}

/** @param received gets the first byte of a payload, and its length */
export type Subscribe = (channel: string, received: (first: number, length: number) => void) => Promise<void>;

type Fail = (error: Error) => void;

export const publishers: Record<string, (port: number, fail: Fail) => Promise<Publisher>> = {
  async tidings(port, fail) {
    const client = ownClient(port, fail);
    await client.connect();
    return {
      publish: (channel, payload, done) => void client.publish(channel, payload).then(done, fail),
    };
  },

  /** Without a promise per command. */
  async 'tidings-handler'(port, fail) {
    const client = ownClient(port, fail);
    await client.connect();
    let finish: (reply: unknown) => void = () => {};
    const handler = { command: 'PUBLISH', reply: (reply: unknown) => finish(reply), failed: fail };
    return {
      publish(channel, payload, done) {
        finish = done;
        client.send(handler, ['PUBLISH', channel, payload]);
      },
    };
  },

  async ioredis(port, fail) {
    const client = new Redis(port, '127.0.0.1');
    client.on('error', fail);
    return { publish: (channel, payload, done) => void client.publish(channel, payload).then(done, fail) };
  },

  async 'ioredis-auto'(port, fail) {
    const client = new Redis(port, '127.0.0.1', { enableAutoPipelining: true });
    client.on('error', fail);
    return { publish: (channel, payload, done) => void client.publish(channel, payload).then(done, fail) };
  },

  /** An explicit pipeline of all that is published within one tick. */
  async 'ioredis-pipeline'(port, fail) {
    const client = new Redis(port, '127.0.0.1');
    client.on('error', fail);
    let pipeline: ReturnType<Redis['pipeline']> | undefined;
    let waiting: ((receivers: unknown) => void)[] = [];
    const flush = () => {
      const finished = waiting;
      const sent = pipeline!;
      pipeline = undefined;
      waiting = [];
      sent.exec().then((replies) => {
        if (replies?.length !== finished.length) fail(new Error('a pipeline came back incomplete'));
        for (const [index, done] of finished.entries()) {
          const [error, receivers] = replies![index]!;
          if (error) fail(error);
          done(receivers);
        }
      }, fail);
    };
    return {
      publish(channel, payload, done) {
        if (pipeline === undefined) {
          pipeline = client.pipeline();
          setImmediate(flush);
        }
        pipeline.publish(channel, payload);
        waiting.push(done);
      },
    };
  },

  async 'node-redis'(port, fail) {
    const client = createClient({ url: `redis://127.0.0.1:${port}` });
    client.on('error', fail);
    await client.connect();
    return { publish: (channel, payload, done) => void client.publish(channel, payload).then(done, fail) };
  },

  /** One write per tick, replies through redis-parser, and nothing else that a client has. */
  async 'redis-parser'(port, fail) {
    const socket = connect(port, '127.0.0.1');
    const waiting: ((receivers: unknown) => void)[] = [];
    const parser = new RedisParser({ returnReply: (reply) => waiting.shift()!(reply), returnError: fail });
    socket.on('data', (chunk) => parser.execute(chunk));
    socket.on('error', fail);
    let commands = '';
    return {
      publish(channel, payload, done) {
        if (commands === '') {
          setImmediate(() => {
            socket.write(commands);
            commands = '';
          });
        }
        commands += encode(channel, payload);
        waiting.push(done);
      },
    };
  },
};

export const subscribers: Record<string, (port: number, fail: Fail) => Subscribe> = {
  tidings(port, fail) {
    const client = ownClient(port, fail);
    return (channel, received) =>
      client.subscribe(channel, (payload) => {
        received(payload.charCodeAt(0), payload.length);
      });
  },

  /** Payloads as bytes, never made into strings. */
  'tidings-bytes'(port, fail) {
    const client = ownClient(port, fail);
    return (channel, received) =>
      client.subscribeBuffers(channel, (payload) => received(payload[0]!, payload.length));
  },

  ioredis(port, fail) {
    const client = new Redis(port, '127.0.0.1');
    client.on('error', fail);
    return async (channel, received) => {
      client.on('message', (_channel: string, payload: string) =>
        received(payload.charCodeAt(0), payload.length),
      );
      await client.subscribe(channel);
    };
  },

  'node-redis'(port, fail) {
    const client = createClient({ url: `redis://127.0.0.1:${port}` });
    client.on('error', fail);
    return async (channel, received) => {
      await client.connect();
      await client.subscribe(channel, (payload) => received(payload.charCodeAt(0), payload.length));
    };
  },

  'redis-parser'(port, fail) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', fail);
    return (channel, received) =>
      new Promise((resolve) => {
        const parser = new RedisParser({
          returnReply: (reply) => {
            const [kind, , payload] = reply as [string, string, string];
            if (kind === 'message') received(payload.charCodeAt(0), payload.length);
            else resolve();
          },
          returnError: fail,
        });
        socket.on('data', (chunk) => parser.execute(chunk));
        socket.write(`*2\r\n$9\r\nSUBSCRIBE\r\n$${channel.length}\r\n${channel}\r\n`);
      });
  },
};

/** Any doubt about its connection ends the run. */
function ownClient(port: number, fail: Fail): RespClient {
  const client = new RespClient(`redis://127.0.0.1:${port}`);
  client.on('down', fail).on('retry', fail);
  return client;
}

function encode(channel: string, payload: string): string {
  const length = Buffer.byteLength(payload);
  return `*3\r\n$7\r\nPUBLISH\r\n$${channel.length}\r\n${channel}\r\n$${length}\r\n${payload}\r\n`;
}
