/** The client brings new tickets in time, and says when the user is signed out. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { type Client, type ClientEvents, type ConnectOptions, connect } from '../../src/client/full.ts';
import { Renewal } from '../../src/client/renewal.ts';
import { sockJsTransport } from '../../src/client/sockjs-transport.ts';
import type { WebSocketConstructor } from '../../src/client/transport.ts';
import { signedTicket, signTicket } from '../../src/index.ts';
import { startPush } from '../push/support.ts';
import { until } from '../support/net.ts';
import { ScriptedServer } from './scripted-server.ts';

const secret = 'a secret of more than 16 bytes';

function open(t: TestContext, options: ConnectOptions) {
  const client: Client = connect({
    WebSocket: WebSocket as unknown as WebSocketConstructor,
    reconnect: { min: 1, max: 20 },
    ...options,
  });
  t.after(() => client.close());
  const errors: ClientEvents['error'][] = [];
  const signedOut: ClientEvents['signed-out'][] = [];
  client.on('error', (error) => errors.push(error));
  client.on('signed-out', (event) => signedOut.push(event));
  return { client, errors, signedOut };
}

async function scripted(t: TestContext, options: ConnectOptions) {
  const server = await ScriptedServer.start();
  t.after(() => server.stop());
  return { server, ...open(t, { url: server.url, ticketParameter: 'ticket', ...options }) };
}

// Side by side, as each takes its time: what is left of a ticket when it is renewed has to be longer than a pause of a busy machine.
describe('a page stays over any number of tickets, without a reconnect and without a gap', {
  concurrency: true,
}, () => {
  for (const [way, transport] of [
    ['WebSocket', undefined],
    ['xhr-streaming', sockJsTransport(undefined, 'xhr_streaming')],
    ['xhr-polling', sockJsTransport(undefined, 'xhr')],
  ] as const) {
    test(`by ${way}`, async (t) => {
      const { push, url } = await startPush({
        interceptors: [signedTicket({ secret })],
        sockjs: { prefix: '/sockjs/socketServer' },
        expiry: { leeway: 0 },
      });
      let asked = 0;
      const ticket = async (): Promise<string> => {
        asked++;
        return signTicket('alice', { secret, lifetime: 9_000 });
      };
      const { client, errors } = open(t, { url, ticket, ...(transport && { transport }) });
      const opens: unknown[] = [];
      const data: unknown[] = [];
      client.on('open', (event) => opens.push(event));
      client.on('message', (message) => data.push(message.data));
      await until('connected', () => client.state.name === 'connected');
      for (let n = 1; n <= 4; n++) {
        await until(`ticket number ${n}`, () => asked >= n);
        await push.send('alice', n);
      }
      await until('all messages', () => data.length === 4);
      assert.deepEqual(data, [1, 2, 3, 4]);
      assert.equal(opens.length, 1);
      assert.deepEqual(errors, []);
    });
  }
});

test('a new ticket is asked for in the second half of the time, not by all at one moment', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  const waits = Array.from({ length: 200 }, () => {
    const start = Date.now();
    let at = 0;
    const renewal = new Renewal(() => {
      at ||= Date.now() - start;
    });
    renewal.begin(100_000);
    for (let n = 0; n < 1000 && at === 0; n++) t.mock.timers.tick(500);
    renewal.begin();
    return at;
  });
  assert.ok(Math.min(...waits) >= 50_000 && Math.max(...waits) <= 75_500);
  assert.ok(new Set(waits).size > 20);
});

test('an attempt that brings nothing is followed by others, at parts of what is left, and by none after the end', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  const start = Date.now();
  const times: number[] = [];
  const renewal = new Renewal(() => times.push(Date.now() - start));
  renewal.begin(600_000);
  for (let i = 0; i < 20_000; i++) t.mock.timers.tick(100);
  assert.ok(times.length >= 5 && times.length <= 15, times.join());
  assert.ok(times.every((time, i) => time < 600_000 && (i === 0 || time > times[i - 1]!)));
});

test('a session without an end, over, or of more than a timer can wait: nothing, nothing, and in time', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  let renewed = 0;
  const renewal = new Renewal(() => renewed++);
  for (const left of [undefined, 0, 1]) renewal.begin(left);
  t.mock.timers.tick(2 ** 31);
  assert.equal(renewed, 0);
  renewal.begin(2 ** 40);
  t.mock.timers.tick(1);
  assert.equal(renewed, 0);
  t.mock.timers.tick(2 ** 31 - 1);
  assert.ok(renewed >= 1);
  renewal.begin();
});

test('after a sleep it is asked for at once where it was due, and only there', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  let renewed = 0;
  const renewal = new Renewal(() => renewed++);
  renewal.begin(100_000);
  renewal.look();
  assert.equal(renewed, 0);
  t.mock.timers.setTime(1_000_000 + 80_000);
  renewal.look();
  assert.equal(renewed, 1);
  renewal.look();
  assert.equal(renewed, 1);
  renewal.begin();
  renewal.look();
  assert.equal(renewed, 1);
});

test('a function that throws, rejects, hangs or gives nothing is asked again; what it gives late counts', async (t) => {
  const answers: (() => unknown)[] = [
    () => 'first',
    () => {
      throw new Error('thrown');
    },
    () => Promise.reject(new Error('rejected')),
    () => null,
    () => new Promise(() => {}),
    () => 'second',
  ];
  let asked = 0;
  const { server, client, errors } = await scripted(t, { ticket: (() => answers[asked++]?.()) as never });
  const connection = await server.next();
  await connection.welcome({ expires: Date.now() + 200_000, expiresIn: 200_000 });
  await until('connected', () => client.state.name === 'connected');
  for (let n = 1; n <= 4; n++) {
    // Another end, so near that the test need not wait for long.
    connection.send({ type: 'renewed', expiresIn: 600 });
    await until(`question number ${n}`, () => asked > n);
    connection.send({ type: 'renewed' });
  }
  connection.send({ type: 'renewed', expiresIn: 600 });
  assert.deepEqual(await connection.frame('renew'), { type: 'renew', ticket: 'second' });
  assert.deepEqual(
    errors.map(({ code, message }) => `${code} ${message}`),
    ['connect thrown', 'connect rejected'],
  );
  assert.equal(client.state.name, 'connected');
});

test('what the server says of a ticket is told, and the client goes on', async (t) => {
  // The client's clock. A pause of the machine would leave too little of a short time for another attempt.
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() });
  let asked = 0;
  const { server, client, errors } = await scripted(t, { ticket: () => `n${++asked}` });
  const connection = await server.next();
  await connection.welcome({ expiresIn: 40_000 });
  await until('connected', () => client.state.name === 'connected');
  t.mock.timers.tick(30_000);
  assert.equal((await connection.frame('renew')).ticket, 'n2');
  connection.send({ type: 'error', code: 'not-authenticated', message: 'not yet' });
  await until('told', () => errors.length === 1);
  t.mock.timers.tick(8_000);
  assert.equal((await connection.frame('renew', 1)).ticket, 'n3');
  connection.send({ type: 'renewed', expires: Date.now() + 100_000, expiresIn: 100_000 });
  assert.deepEqual(errors, [{ code: 'not-authenticated', message: 'not yet' }]);
  assert.equal(client.state.name, 'connected');
});

test('a ticket that comes when its connection is gone goes nowhere', async (t) => {
  let asked = 0;
  let late: (ticket: string) => void = () => {};
  const { server } = await scripted(t, {
    ticket: () => (++asked === 2 ? new Promise((resolve) => (late = resolve)) : `n${asked}`),
  });
  const first = await server.next();
  await first.welcome({ expiresIn: 600 });
  await until('the question', () => asked === 2);
  first.socket.terminate();
  const second = await server.next();
  await second.welcome();
  late('late');
  second.send({ type: 'renewed', expiresIn: 600 });
  assert.equal((await second.frame('renew')).ticket, 'n4');
});

test('a ticket as text is not sent again; another one given while connected is sent at once', async (t) => {
  const { server, client } = await scripted(t, { ticket: 'a' });
  const connection = await server.next();
  await connection.welcome({ expiresIn: 600 });
  await until('connected', () => client.state.name === 'connected');
  client.connect({ ticket: 'b' });
  assert.equal((await connection.frame('renew')).ticket, 'b');
  connection.send({ type: 'renewed', expiresIn: 600 });
  let asked = 0;
  client.connect({ ticket: async () => `f${++asked}` });
  assert.equal((await connection.frame('renew', 1)).ticket, 'f1');
  connection.send({ type: 'renewed', expiresIn: 600 });
  assert.equal((await connection.frame('renew', 2)).ticket, 'f2');
  assert.equal(server.connections.length, 1);
});

test('in plain mode nothing is said of tickets', async (t) => {
  const { server, client } = await scripted(t, { ticket: 'a', plain: true });
  const connection = await server.next();
  await until('connected', () => client.state.name === 'connected');
  client.connect({ ticket: 'b' });
  connection.socket.send('x');
  await new Promise((resolve) => client.on('message', resolve));
  assert.deepEqual(connection.texts, []);
});

for (const [code, isSignedOut] of [
  [4501, true],
  [4503, true],
  [4600, true],
  [4500, false],
  [4509, false],
] as const) {
  test(`${code} ${isSignedOut ? 'signs the user out' : 'is no signing out'}: the client stops, and another ticket begins anew`, async (t) => {
    const { server, client, signedOut } = await scripted(t, { ticket: 'a' });
    const connection = await server.next();
    await connection.welcome();
    await until('connected', () => client.state.name === 'connected');
    connection.socket.close(code, 'why');
    await until('closed', () => client.state.name === 'closed');
    assert.deepEqual(signedOut, isSignedOut ? [{ code, reason: 'why' }] : []);
    client.connect({ ticket: 'b' });
    await (await server.next()).welcome();
    await until('connected again', () => client.state.name === 'connected');
  });
}

test('with a function it signs out only where that knows no better ticket; a loss is no signing out', async (t) => {
  let asked = 0;
  const { server, client, signedOut } = await scripted(t, { ticket: () => `n${++asked}` });
  for (const code of [4501, 4501, 1011]) {
    const connection = await server.next();
    await connection.welcome();
    await until('connected', () => client.state.name === 'connected');
    connection.socket.close(code, 'why');
    await until('lost', () => client.state.name !== 'connected');
  }
  assert.deepEqual(signedOut, []);
  // Refused, not closed: it was never welcome.
  (await server.next()).socket.close(4501, 'over');
  (await server.next()).socket.close(4501, 'over');
  await until('signed out', () => signedOut.length === 1);
  assert.equal(client.state.name, 'closed');
});

test('who was let in while the store was away is not taken for one whose ticket is refused', async (t) => {
  const { server, signedOut } = await scripted(t, { ticket: () => 'x' });
  for (let n = 0; n < 4; n++) {
    const connection = await server.next();
    await connection.frame('hello');
    connection.atOnce(() => {
      connection.send({ type: 'status', behind: true });
      connection.socket.close(4501, 'the login has ended');
    });
  }
  assert.equal((await server.next()).closed, undefined);
  assert.deepEqual(signedOut, []);
});

test('another user is no renewal: both ends say so', async (t) => {
  const { url } = await startPush({ interceptors: [signedTicket({ secret })] });
  const { client, signedOut, errors } = open(t, { url, ticket: signTicket('alice', { secret }) });
  await until('connected', () => client.state.name === 'connected');
  client.connect({ ticket: signTicket('bob', { secret }) });
  await until('signed out', () => signedOut.length === 1);
  assert.deepEqual(signedOut, [{ code: 4503, reason: 'the ticket is of another user' }]);
  assert.deepEqual(new Set(errors.map(({ code }) => code)), new Set(['forbidden']));
  client.connect({ ticket: signTicket('bob', { secret }) });
  await until('bob', () => client.user === 'bob');
});
