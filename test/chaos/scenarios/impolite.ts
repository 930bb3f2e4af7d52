/** Clients by the hundred that keep to nothing, beside pages that must not notice. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { clientFrame } from '../../../bench/load/content.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const HELLO = JSON.stringify({ type: 'hello', topics: ['news'], start: 'retained' });
const frame = (text: string): Buffer => clientFrame(1, Buffer.from(text));

interface Peer {
  socket: Socket;
  /** It has been answered, or its connection is gone. */
  upgraded: Promise<void>;
}

/** How many were let in so far. */
let admitted = 0;

/** A socket of its own, without a client that would behave by itself: it answers nothing, neither pings nor a close. */
function dial(port: number, user: string): Peer {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  const upgraded = new Promise<void>((resolve) => {
    socket.once('data', (answer) => {
      if (answer.toString('latin1').startsWith('HTTP/1.1 101')) admitted++;
      resolve();
    });
    socket.once('close', () => resolve());
  });
  socket.write(
    [
      `GET /socketServer?user=${user} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
      'Sec-WebSocket-Protocol: tidings.1',
      '\r\n',
    ].join('\r\n'),
  );
  return { socket, upgraded };
}

type Manners = (port: number, i: number) => Promise<Socket>;

const manners: Record<string, Manners> = {
  async 'never reads'(port, i) {
    const { socket, upgraded } = dial(port, `mute${i}`);
    await upgraded;
    socket.write(frame(HELLO));
    socket.pause();
    return socket;
  },
  async 'never answers close'(port, i) {
    const { socket, upgraded } = dial(port, `deaf${i}`);
    await upgraded;
    socket.write(Buffer.concat([frame(HELLO), frame('this is not JSON')]));
    socket.resume();
    return socket;
  },
  async 'sends frames at random'(port, i) {
    const { socket, upgraded } = dial(port, `loud${i}`);
    await upgraded;
    socket.write(frame(HELLO));
    socket.write(randomBytes(1 + (i % 700)));
    socket.resume();
    return socket;
  },
  async 'sends JSON at random'(port, i) {
    const { socket, upgraded } = dial(port, `odd${i}`);
    await upgraded;
    const odd = [
      '[]',
      '{}',
      '{"type":"constructor"}',
      `${'['.repeat(5000)}${']'.repeat(5000)}`,
      '{"type":"hello","topics":{}}',
    ];
    for (const text of [
      odd[i % odd.length]!,
      HELLO,
      HELLO,
      '{"type":"ack","channel":"inbox","position":{"epoch":"x","offset":-1,"id":""}}',
    ])
      socket.write(frame(text));
    socket.resume();
    return socket;
  },
  async 'is no HTTP'(port) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(randomBytes(600));
    socket.resume();
    return socket;
  },
  async 'says half a handshake'(port) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET /socketServer?user=half HTTP/1.1\r\nHost: h\r\nUpgrade: webso');
    socket.resume();
    return socket;
  },
  async 'says half a frame'(port, i) {
    const { socket, upgraded } = dial(port, `slow${i}`);
    await upgraded;
    socket.write(frame(HELLO).subarray(0, 9));
    socket.resume();
    return socket;
  },
  async 'never says hello'(port, i) {
    const { socket, upgraded } = dial(port, `shy${i}`);
    await upgraded;
    socket.resume();
    return socket;
  },
  async 'comes and goes'(port, i) {
    for (let times = 0; times < 5; times++) {
      const { socket, upgraded } = dial(port, `storm${i}`);
      if (times % 2 === 0) await upgraded;
      socket.write(frame(HELLO));
      socket.resetAndDestroy();
    }
    const { socket } = dial(port, `storm${i}`);
    socket.resume();
    return socket;
  },
};

export const impolite: Scenario = {
  name: 'impolite',
  what: 'hundreds that never read, never answer a close, send garbage, stop in the middle or come and go, again and again',
  expects: 'complete',
  happensTo: 'pages',
  setting: {
    padding: 2000,
    interval: 30,
    options: {
      // Not so short that a page in this busy process answers late.
      heartbeat: { ping: 3000 },
      limits: { helloTimeout: 1500, outbox: 64 * 1024, sessionsPerUser: 4 },
    },
    client: { heartbeat: { interval: 5000, timeout: 5000 } },
  },
  async play(stage) {
    const count = stage.plan.isShort ? 100 : 200;
    for (let round = 0; round < (stage.plan.isShort ? 1 : 4); round++) {
      await stage.more(0.1);
      admitted = 0;
      const sockets = await crowd(stage, count);
      stage.note(`${sockets.length} came, ${admitted} were let in`);
      stage.check(admitted >= count, 'hardly anybody was let in: the scenario proves nothing');
      await stage.recovered();
      // They hold their end open: it is the server that must let go.
      await stage.until(
        'all of them to be gone',
        async () => (await stage.sessions()) === stage.pages.length,
      );
      for (const socket of sockets) socket.destroy();
    }
    const [ends] = stage.pages.map((page) => page.ends.join(', ')).filter((text) => text !== '');
    stage.check(ends === undefined, `a page lost its connection to others' manners: ${ends}`);
  },
};

/** @param count of each kind */
async function crowd(stage: Stage, count: number): Promise<Socket[]> {
  const ports = stage.instances.map(({ port }) => port);
  const all = Object.values(manners).flatMap((behave) =>
    Array.from({ length: count }, (_, i) => behave(ports[i % ports.length]!, i)),
  );
  return Promise.all(all);
}
