import assert from 'node:assert/strict';
import { test } from 'node:test';
import Ws from 'ws';
import { Audience, catchUp, type Member, type SharedFrames } from '../../src/server/fan-out.ts';
import { PreparedMessage } from '../../src/server/prepared-message.ts';
import type { WebSocket, WebSocketServer } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { frame, listen, RawPeer } from './support.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Keeps what it is handed, and which buffers. */
class Recorder implements Member {
  readonly wireForm = 0;
  readonly buffers: Buffer[] = [];
  takeShared({ bytes }: SharedFrames): void {
    this.buffers.push(bytes);
  }
  get texts(): string {
    return this.buffers
      .map((buffer) => buffer.toString('latin1').replace(/[^a-z]+/g, ' '))
      .join('')
      .trim();
  }
}

test('what is published in one turn is joined once: every member gets the same one buffer', async () => {
  const audience = new Audience((message) => message.plain);
  const members = Array.from({ length: 5 }, () => new Recorder());
  for (const member of members) audience.add(member);
  for (const text of ['a', 'b', 'c']) audience.publish(new PreparedMessage(text));
  assert.equal(members[0]!.buffers.length, 0);
  await turn();
  for (const member of members) {
    assert.equal(member.buffers.length, 1);
    assert.equal(member.buffers[0], members[0]!.buffers[0]);
    assert.equal(member.texts, 'a b c');
  }
});

test('a member that is sent something of its own gets what came before it first, and the rest after', async () => {
  const audience = new Audience((message) => message.plain);
  const [one, other] = [new Recorder(), new Recorder()];
  audience.add(one);
  audience.add(other);
  audience.publish(new PreparedMessage('a'));
  catchUp(one);
  assert.equal(one.texts, 'a');
  audience.publish(new PreparedMessage('b'));
  await turn();
  assert.equal(one.texts, 'a b');
  assert.equal(other.texts, 'a b');
  assert.equal(other.buffers.length, 1);
});

test('two audiences in turn: who is in both gets all in the order of publishing', async () => {
  const [left, right] = [new Audience((m) => m.plain), new Audience((m) => m.plain)];
  const [both, onlyLeft] = [new Recorder(), new Recorder()];
  left.add(both);
  left.add(onlyLeft);
  right.add(both);
  left.publish(new PreparedMessage('a'));
  right.publish(new PreparedMessage('b'));
  left.publish(new PreparedMessage('c'));
  await turn();
  assert.equal(both.texts, 'a b c');
  assert.equal(onlyLeft.texts, 'a c');
});

test('who joins gets nothing from before, who leaves gets nothing from after', async () => {
  const audience = new Audience((message) => message.plain);
  const [early, late, gone] = [new Recorder(), new Recorder(), new Recorder()];
  audience.add(early);
  audience.add(gone);
  audience.publish(new PreparedMessage('a'));
  audience.add(late);
  audience.delete(gone);
  audience.publish(new PreparedMessage('b'));
  await turn();
  assert.deepEqual([early.texts, late.texts, gone.texts], ['a b', 'b', 'a']);
});

test('the excluded get everything else', async () => {
  const audience = new Audience((message) => message.plain);
  const [one, other] = [new Recorder(), new Recorder()];
  audience.add(one);
  audience.add(other);
  audience.publish(new PreparedMessage('a'));
  audience.publish(new PreparedMessage('b'), [one]);
  audience.publish(new PreparedMessage('c'));
  await turn();
  assert.deepEqual([one.texts, other.texts], ['a c', 'a b c']);
});

// ── on real sockets ──────────────────────────────────────────────────────────────────────────────

async function crowd(wss: WebSocketServer, port: number, size: number): Promise<RawPeer[]> {
  const peers: RawPeer[] = [];
  // One after the other, so that the server's clients are in the same order.
  while (peers.length < size) peers.push(await RawPeer.open(port));
  await until('all connections', () => wss.clients.size === size);
  return peers;
}

async function texts(peer: RawPeer, count: number): Promise<string[]> {
  const all: string[] = [];
  while (all.length < count) all.push(String((await peer.frame()).payload));
  return all;
}

test('broadcast, with a filter and between messages of one’s own', async () => {
  const { wss, port } = await listen();
  const peers = await crowd(wss, port, 4);
  const [first, second] = [...wss.clients];
  wss.broadcast('a');
  first!.send('own');
  wss.broadcast('b', (client) => client !== second);
  wss.broadcast('c', (client) => client === first);
  wss.broadcast(Buffer.from('d'));
  const got = await Promise.all(peers.map((peer, i) => texts(peer, [5, 2, 3, 3][i]!)));
  assert.deepEqual(
    got.map((each) => each.join('')),
    ['aownbcd', 'ad', 'abd', 'abd'],
  );
  for (const peer of peers) peer.socket.destroy();
  await wss.close({});
});

test('what clients say in one read is broadcast in one write to each', async () => {
  const { wss, port } = await listen();
  wss.on('connection', (ws) => ws.on('message', (data) => wss.broadcast(String(data))));
  const peers = await crowd(wss, port, 3);
  let writes = 0;
  for (const client of wss.clients) {
    const socket = client._socket!;
    const { _write } = socket;
    socket._write = function (...args) {
      writes++;
      return _write.apply(this, args);
    };
  }
  peers[0]!.socket.write(Buffer.concat(Array.from({ length: 16 }, (_, i) => frame(1, `m${i}`))));
  const expected = Array.from({ length: 16 }, (_, i) => `m${i}`);
  for (const peer of peers) assert.deepEqual(await texts(peer, 16), expected);
  assert.equal(writes, 3);
  for (const peer of peers) peer.socket.destroy();
  await wss.close({});
});

test('topics: only who has subscribed, until it unsubscribes or goes', async () => {
  const { wss, port } = await listen();
  const peers = await crowd(wss, port, 3);
  const [first, second] = [...wss.clients] as [WebSocket, WebSocket];
  first.subscribe('news');
  first.subscribe('sport');
  second.subscribe('news');
  assert.equal(wss.publish('news', 'n1'), 2);
  assert.equal(wss.publish('sport', 's1'), 1);
  assert.equal(wss.publish('nothing', 'x'), 0);
  second.unsubscribe('news');
  assert.equal(wss.publish('news', 'n2'), 1);
  wss.broadcast('end');
  assert.deepEqual(await texts(peers[0]!, 4), ['n1', 's1', 'n2', 'end']);
  assert.deepEqual(await texts(peers[1]!, 2), ['n1', 'end']);
  assert.deepEqual(await texts(peers[2]!, 1), ['end']);
  first.terminate();
  await until('it is gone', () => wss.clients.size === 2);
  assert.equal(wss.publish('news', 'n3'), 0);
  for (const peer of peers) peer.socket.destroy();
  await wss.close({});
});

test('a broadcast is compressed once for all, and own messages after it still inflate', async () => {
  for (const contexts of [true, false]) {
    const { wss, url } = await listen({
      perMessageDeflate: {
        threshold: 100,
        serverNoContextTakeover: !contexts,
        clientNoContextTakeover: !contexts,
      },
    });
    const clients = Array.from({ length: 4 }, (_, i) => new Ws(url, { perMessageDeflate: i > 0 }));
    const received = clients.map((client) => {
      const all: string[] = [];
      client.on('message', (data) => all.push(String(data)));
      return all;
    });
    await until(
      'all connections',
      () => wss.clients.size === 4 && clients.every((c) => c.readyState === Ws.OPEN),
    );
    const expected: string[][] = [[], [], [], []];
    for (let i = 0; i < 20; i++) {
      const shared = JSON.stringify({ i, text: 'the same words again and again '.repeat(i) });
      wss.broadcast(shared);
      for (const [k, client] of [...wss.clients].entries()) {
        expected[k]!.push(shared);
        const own = `own ${i} ${k} ${'of the same words again and again '.repeat(10)}`;
        client.send(own);
        expected[k]!.push(own);
      }
      if (i % 3 === 0) await turn();
    }
    await until('everything', () => received.every((all) => all.length === 40));
    // Whose connection is whose is told by their own messages.
    for (const all of received) {
      const k = Number(all.find((text) => text.startsWith('own'))!.split(' ')[2]);
      assert.deepEqual(all, expected[k]);
    }
    for (const client of clients) client.terminate();
    await wss.close({});
  }
});

test('a broadcast closes clients that are past maxBackpressure', async () => {
  const { wss, port } = await listen({ maxBackpressure: 2_000_000 });
  const peers = await crowd(wss, port, 3);
  for (const peer of peers) peer.socket.pause();
  const message = new PreparedMessage(Buffer.alloc(500_000));
  for (let i = 0; i < 40 && wss.clients.size > 0; i++) {
    wss.broadcast(message);
    await turn();
    for (const client of wss.clients) assert.ok(client.bufferedAmount < 3_000_000);
  }
  for (const client of wss.clients) assert.equal(client.readyState, 2);
  for (const peer of peers) peer.socket.destroy();
  await wss.close({});
});
