/**
 * A program: shows, without `tidings prove`, what docs/guarantees.md says of Socket.IO's connection state recovery. One server
 * with the Redis streams adapter emits numbers, one client closes its connection 200 times and comes back; it prints how many
 * numbers were lost although each session was recovered.
 *
 *     node --import ./scripts/typescript.mjs test/prove/socketio-recovery.ts
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdapter } from '@socket.io/redis-streams-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';
import { io as connect } from 'socket.io-client';
import { pause } from '../../src/waiting.ts';
import { freePort, until } from '../support/net.ts';
import { find } from '../support/programs.ts';

const RECONNECTS = 200;
/** Milliseconds from a number to the next one. */
const INTERVAL = 5;

const store = await freePort();
const redis = spawn(find('redis')!, ['--port', String(store), '--save', ''], { stdio: 'ignore' });
process.on('exit', () => redis.kill('SIGKILL'));
const client = createClient({ url: `redis://127.0.0.1:${store}` });
client.on('error', () => {});
await client.connect();

const http = createServer();
const io = new Server(http, { adapter: createAdapter(client), connectionStateRecovery: {} });
io.on('connection', (socket) => {
  if (!socket.recovered) socket.join('room');
});
http.listen(0, '127.0.0.1');
await once(http, 'listening');

const { port } = http.address() as AddressInfo;
const page = connect(`http://127.0.0.1:${port}`, {
  transports: ['websocket'],
  reconnectionDelay: 20,
  reconnectionDelayMax: 40,
});
const seen = new Set<number>();
let connections = 0;
let notRecovered = 0;
page.on('number', (n: number) => seen.add(n));
page.on('connect', () => {
  if (connections++ > 0 && !page.recovered) notRecovered++;
});
await until('the first connection', () => connections > 0);

let last = 0;
let isOn = true;
const emitting = (async () => {
  for (; isOn; await pause(INTERVAL)) io.to('room').emit('number', ++last);
})();
for (let i = 1; i <= RECONNECTS; i++) {
  await pause(60);
  page.io.engine.close();
  await until('it to be back', () => connections > i);
}
await pause(300);
isOn = false;
await emitting;
await until('the last one', () => seen.has(last));
await pause(500);
const first = Math.min(...seen);
const lost = Array.from({ length: last - first + 1 }, (_, i) => first + i).filter((n) => !seen.has(n));
console.log(
  `${RECONNECTS} times back, ${notRecovered} of them not recovered: ${lost.length} of ${last} lost`,
);
process.exit(0);
