/** JSON from outside is checked and kept as it came, whoever sends it and by whatever door. */
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { WebSocket as WsWebSocket } from 'ws';
import { until } from '../support/net.ts';
import { onEachStore } from './stores.ts';
import { Page, startPush } from './support.ts';

const TEXTS = [
  '{"id":1724442618569203714}',
  '{ "price" : 10.00,\n  "rates":[0.10, 1e400, -0] }',
  '1724442618569203714',
  '-0',
  '1e+2',
  '[12345678901234567890,{"__proto__":{"n":1.0}}]',
  '{"a":1,"a":2}',
  '{"é":"\\u00e9\\/"}',
  'null',
  'false',
];

onEachStore(
  'what a page publishes arrives as it wrote it, over both doors and in both modes',
  async (broker) => {
    const permitted: unknown[] = [];
    const { push, url } = await startPush({
      broker: broker(),
      sockjs: { prefix: '/sockjs' },
      authorize: {
        subscribe: () => true,
        publish: (_session, _topic, data) => {
          permitted.push(data);
          return true;
        },
      },
    });
    const raw: string[] = [];
    const reader = await Page.open(url, 'reader', { topics: ['t'] });
    reader.socket.on('message', (data: Buffer) => raw.push(String(data)));
    const writer = await Page.open(url, 'writer');
    const { port } = push.address() as AddressInfo;
    const post = async (path: string, body = ''): Promise<string> =>
      (
        await fetch(`http://127.0.0.1:${port}/sockjs/000/s/${path}?user=w2&protocol=tidings.1`, {
          method: 'POST',
          body,
        })
      ).text();
    await post('xhr');
    await post('xhr_send', JSON.stringify(['{"type":"hello"}']));
    for (const [i, text] of TEXTS.entries()) {
      const frame = `{"d\\u0061ta":0,"type":"publish" , "data" : ${text}\n,"channel":"t","ref":"${i}"}`;
      writer.say(frame);
      await writer.frame('published', i);
      await post('xhr_send', JSON.stringify([frame]));
      await until('both', () => reader.data('t').length === 2 * (i + 1));
    }
    const messages = raw.filter((text) => text.startsWith('{"type":"message"'));
    const arrived = messages.map((text) => text.slice(text.indexOf('"data":') + 7, -1));
    assert.deepEqual(
      arrived,
      TEXTS.flatMap((text) => [text, text]),
    );
    assert.deepEqual(
      permitted,
      TEXTS.flatMap((text) => [JSON.parse(text), JSON.parse(text)]),
    );
    // A string is text, as plain pages get it without quotes.
    writer.say('{"type":"publish","channel":"t","data":"\\u0041 \\"b\\"","ref":"s"}');
    await until('the string', () => reader.data('t').at(-1) === 'A "b"');
    // What has no data has none, wherever else the word stands.
    writer.say('{"type":"publish","channel":"t","ref":"none","x":{"data":1},"y":"\\"data\\":1"}');
    assert.equal((await writer.frame('error')).code, 'bad-frame');
    assert.equal(writer.socket.readyState, WsWebSocket.OPEN);
    await push.close();
  },
);
