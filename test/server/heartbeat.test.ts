import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Heartbeat, type Pulse } from '../../src/server/heartbeat.ts';
import { WebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { frame, listen, RawPeer } from './support.ts';

const alive = setInterval(() => {}, 1000);
test.after(() => clearInterval(alive));

test('a silent peer is pinged, and closed with 4408 when it stays so', async () => {
  const { wss, port } = await listen({ pingInterval: 100 });
  const closed = new Promise<[number, string]>((resolve) => {
    wss.on('connection', (ws) => ws.on('close', (code, reason) => resolve([code, String(reason)])));
  });
  const peer = await RawPeer.open(port);
  let last = await peer.frame();
  let pings = 0;
  while (last.opcode === 9) {
    pings++;
    last = await peer.frame();
  }
  assert.ok(pings >= 2, `${pings} pings`);
  assert.equal(last.opcode, 8);
  assert.equal(last.payload.readUInt16BE(0), 4408);
  assert.deepEqual(await closed, [4408, 'heartbeat timeout']);
  await peer.closed();
  await wss.close({});
});

test('a peer that answers stays, and so does one that only talks', async () => {
  const { wss, port, url } = await listen({ pingInterval: 60 });
  const answering = new WebSocket(url);
  let pings = 0;
  answering.on('ping', () => pings++);
  const talking = await RawPeer.open(port);
  const talk = setInterval(() => talking.socket.write(frame(10)), 10);
  await until('ten pings', () => pings >= 10);
  clearInterval(talk);
  assert.equal(wss.clients.size, 2);
  answering.terminate();
  talking.socket.destroy();
  await wss.close({});
});

test('a client with pingInterval finds out that its server is gone', async () => {
  const { wss, url } = await listen({ autoPong: false });
  const client = new WebSocket(url, { pingInterval: 50, pongTimeout: 50 });
  const code = await new Promise((resolve) => client.on('close', resolve));
  assert.equal(code, 4408);
  await wss.close({});
});

test('every member is visited once in a round, however many there are', async () => {
  const heartbeat = new Heartbeat(100, 100);
  const pings = new Map<Pulse, number>();
  const lost: Pulse[] = [];
  const members = Array.from({ length: 1000 }, () => {
    const member: Pulse = {
      silence: 0,
      ping: () => pings.set(member, (pings.get(member) ?? 0) + 1),
      pulseLost: () => {
        lost.push(member);
        heartbeat.delete(member);
      },
    };
    heartbeat.add(member);
    return member;
  });
  await until('all are given up', () => lost.length === members.length);
  assert.equal(new Set(lost).size, members.length);
  assert.deepEqual(new Set(pings.values()), new Set([2]), 'two pings were missed');
  assert.equal(heartbeat.size, 0);
});
