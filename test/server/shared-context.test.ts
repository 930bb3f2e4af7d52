/** Compressed messages of one connection among those for all (RFC 7692 §7.1.1), read by ws's client. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocket as WsClient } from 'ws';
import { Random } from '../../src/prove/random.ts';
import type { WebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { cleanUp, listen, RawPeer } from './support.ts';

for (const serverNoContextTakeover of [false, true]) {
  for (const serverMaxWindowBits of [9, 10, 12, 15]) {
    const how = `${serverNoContextTakeover ? 'without' : 'with'} context takeover, a window of ${serverMaxWindowBits} bits`;
    test(`ws reads its own messages and broadcast ones in any order: ${how}`, async () => {
      const { wss, url } = await listen({
        perMessageDeflate: { serverNoContextTakeover, serverMaxWindowBits, threshold: 50 },
      });
      const accepted = once(wss, 'connection') as Promise<[WebSocket]>;
      const client = new WsClient(url);
      cleanUp(() => client.terminate());
      const received: string[] = [];
      client.on('message', (data) => received.push(String(data)));
      const [ws] = await accepted;
      const random = new Random(serverMaxWindowBits);
      const sent: string[] = [];
      for (let i = 0; i < 300; i++) {
        const size = random.pick([0, 4, 60, 500, 3000, 9000, 30_000]);
        const text = `${i % 9} message with the same words `.repeat(Math.ceil(size / 30)).slice(0, size);
        sent.push(text);
        if (random.chance(2)) ws.send(text);
        else wss.broadcast(text);
        if (random.chance(6)) await new Promise((resolve) => setImmediate(resolve));
      }
      await until('all messages', () => received.length === sent.length);
      assert.deepEqual(received, sent);
    });
  }
}

test('small broadcasts between equal messages cost their context nothing', async () => {
  const { wss, port } = await listen({ perMessageDeflate: { serverNoContextTakeover: false } });
  const accepted = once(wss, 'connection') as Promise<[WebSocket]>;
  const peer = await RawPeer.open(port, 'Sec-WebSocket-Extensions: permessage-deflate\r\n');
  const [ws] = await accepted;
  const text = Array.from({ length: 60 }, (_, i) => `word ${i * 7919}`).join(' ');
  let first = 0;
  let others = 0;
  for (let i = 0; i < 50; i++) {
    ws.send(text);
    wss.broadcast('tick');
    const own = (await peer.frame()).payload.length;
    if (i === 0) first = own;
    else others += own;
    assert.equal((await peer.frame()).payload.toString(), 'tick');
  }
  assert.ok(others < 49 * 20, `${first} bytes, then ${others} for 49`);
});
