/** A page of the benches takes nothing for a message that is not one: whatever is wrong fails the row. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type WebSocket, WebSocketServer } from 'ws';
import type { PageWire } from '../../bench/pages/job.ts';
import { Page } from '../../bench/pages/page.ts';
import { until } from '../support/net.ts';

const position = (offset: number) => ({ epoch: 'e', offset, id: `i${offset}` });
const message = (n: number): string =>
  JSON.stringify({ type: 'message', channel: 'inbox', ...position(n), time: 1, data: { n, t: 5 } });
const welcome = (recovered = true): string =>
  JSON.stringify({ type: 'welcome', channels: { inbox: { position: position(0), recovered } } });

/** @param greet what the server does when a page has come */
async function open(
  t: TestContext,
  wire: PageWire,
  greet: (socket: WebSocket, received: (text: string) => void) => void,
): Promise<{ page: Page; errors: string[]; received: string[]; settled: Promise<unknown> }> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const received: string[] = [];
  server.on('connection', (socket) => {
    greet(socket, (text) => received.push(text));
    socket.on('message', (data) => received.push(data.toString()));
  });
  const { port } = server.address() as AddressInfo;
  const page = new Page({ port, path: '/', wire, isQuiet: false }, 'u1');
  t.after(() => {
    page.cut();
    server.close();
  });
  const errors: string[] = [];
  const settled = new Promise<void>((resolve) => {
    page.onError = ({ message }) => {
      errors.push(message);
      resolve();
    };
    page.onClose = resolve;
  });
  page.open();
  return { page, errors, received, settled };
}

const wrongs: [what: string, wire: PageWire, texts: string[], error: RegExp][] = [
  ['a message that is lost', 'plain', ['{"n":1,"t":1}', '{"n":3,"t":1}'], /lost, doubled or out of order/],
  ['a message that comes twice', 'plain', ['{"n":1,"t":1}', '{"n":1,"t":1}'], /lost, doubled/],
  ['what is no message', 'plain', ['hello'], /lost, doubled/],
  ['a lost message of tidings.1', 'tidings.1', [welcome(), message(2)], /lost, doubled/],
  ['a refusal', 'tidings.1', [welcome(), '{"type":"error","code":"bad-ack"}'], /unexpected: .*bad-ack/],
  ['a gap', 'tidings.1', [welcome(), '{"type":"gap","channel":"inbox"}'], /unexpected: .*gap/],
  ['an inbox that was not recovered', 'tidings.1', [welcome(false)], /inbox was not recovered/],
  ['a refused connection', 'socket.io', ['0{}', '44{"message":"no"}'], /unexpected: 44/],
];
for (const [what, wire, texts, error] of wrongs) {
  test(`${what} is an error`, async (t) => {
    const { errors, settled } = await open(t, wire, (socket) => {
      for (const text of texts) socket.send(text);
    });
    await settled;
    assert.equal(errors.length, 1);
    assert.match(errors[0]!, error);
  });
}

test('a connection that the server ends is an error', async (t) => {
  const { errors, settled } = await open(t, 'plain', (socket) => socket.terminate());
  await settled;
  assert.match(errors[0]!, /closed|reset/i);
});

test('it is settled when the last acknowledgement has its answer, which may stand for earlier ones', async (t) => {
  let answer = () => {};
  const { page, errors } = await open(t, 'tidings.1', (socket) => {
    socket.send(welcome());
    socket.send(message(1));
    socket.send(message(2));
    socket.on('message', (data) => {
      const frame = JSON.parse(data.toString());
      if (frame.type !== 'ack') return;
      assert.deepEqual(frame.position, position(2));
      answer = () =>
        socket.send(JSON.stringify({ type: 'acked', channel: 'inbox', position: frame.position }));
      acknowledged();
    });
  });
  let acknowledged = () => {};
  await new Promise<void>((resolve) => {
    acknowledged = resolve;
  });
  assert.equal(page.last, 2);
  assert.equal(page.isSettled, false);
  answer();
  await until('it to be settled', () => page.isSettled);
  assert.deepEqual(errors, []);
});
