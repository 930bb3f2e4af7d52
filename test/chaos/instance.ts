/**
 * A program: one instance with a push server, as an application embeds it. The runner starts several as child
 * processes. Besides the sockets it takes `POST /send/<stream>`, tells its memory on `GET /memory`, and how many
 * handshakes were under way at once since it was last asked on `GET /handshakes`.
 */
import { createServer, type IncomingMessage } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { type Interceptor, PushServer, queryUser, redisBroker } from '../../src/index.ts';
import type { InstanceSettings } from './instances.ts';

const settings = JSON.parse(process.env['CHAOS_INSTANCE']!) as InstanceSettings;
const { port, store, redis, drain, options, handshakeTime } = settings;
let underWay = 0;
let peak = 0;

const http = createServer((request, response) => {
  const answer = (status: number, body: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  const [, verb, stream] = decodeURIComponent(request.url ?? '').split('/');
  if (verb === 'memory') {
    globalThis.gc?.();
    answer(200, { ...process.memoryUsage(), cpu: process.cpuUsage(), ...push.stats() });
  } else if (verb === 'handshakes') {
    answer(200, { peak });
    peak = underWay;
  } else if (verb === 'send' && stream !== undefined) {
    send(stream, request).then(
      (receipt) => answer(201, receipt),
      (error) => answer(503, { error: String(error) }),
    );
  } else answer(404, {});
});

const lookup: Interceptor = {
  async before() {
    peak = Math.max(peak, ++underWay);
    await pause(handshakeTime);
  },
  after() {
    underWay--;
  },
};

const push = new PushServer({
  server: http,
  broker: redisBroker(store, redis),
  interceptors: handshakeTime === undefined ? [queryUser('user')] : [queryUser('user'), lookup],
  authorize: { subscribe: () => true },
  ...options,
});

async function send(stream: string, request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const { data, key } = JSON.parse(Buffer.concat(chunks).toString());
  const idempotency = { idempotencyKey: key };
  return stream.startsWith('user:')
    ? push.send(stream.slice('user:'.length), data, idempotency)
    : push.publish(stream, data, idempotency);
}

process.on('SIGTERM', () => {
  // Who keeps a connection to send on would otherwise hold up the end of the HTTP server.
  http.close();
  void push.close({ drain }).then(() => process.exit(0));
});

http.listen(port, '127.0.0.1', () => {
  void push.ready.then(() => console.log(`listening on http://127.0.0.1:${port}/`));
});
