/** Pages with an old library, such as Prototype before 1.7, in which arrays have a `toJSON` that makes text of them. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import { bellBundle, clientBundle, coreBundle } from '../../scripts/client-bundle.ts';
import { encode } from '../../src/client/encode.ts';
import { scriptOf } from '../support/scripts.ts';
import { at } from './scripted-server.ts';

const OLD = `
  Array.prototype.toJSON = function () { return '[' + [...this].join() + ']'; };
  Array.prototype.reduce = function () { return this.length > 1 ? this : this[0]; };
  Array.from = (items) => [...items];
`;
const arrays = Array.prototype as { toJSON?: () => string };

afterEach(() => {
  delete arrays.toJSON;
});

test('arrays stay arrays, wherever they are, and nothing else is another', () => {
  const values = [[], [1, [2, []]], { a: [1], b: { c: [{ d: ['x'] }] }, e: '[1]', f: null, g: undefined }];
  const texts = values.map((value) => JSON.stringify(value));
  arrays.toJSON = () => 'wrong';
  assert.deepEqual(values.map(encode), texts);
});

test('where there is no such library, what says itself how it is written is written so', () => {
  class Tags extends Array<string> {
    toJSON(): string {
      return this.join(' ');
    }
  }
  assert.equal(
    encode({ tags: Tags.of('a', 'b'), at: new Date(0) }),
    '{"tags":"a b","at":"1970-01-01T00:00:00.000Z"}',
  );
});

for (const [name, bundle] of Object.entries({ clientBundle, coreBundle, bellBundle })) {
  test(`${name}: all that a page with such a library says is understood`, async () => {
    const script = await scriptOf(bundle);
    const sent: string[] = [];
    const context = createContext({
      URL,
      crypto,
      setTimeout,
      clearTimeout,
      setInterval,
      clearInterval,
      queueMicrotask,
      sent,
    });
    runInContext(OLD, context);
    runInContext(script, context);
    runInContext(
      `var socket;
      globalThis.WebSocket = class {
        constructor() { socket = this; }
        send(text) { sent.push(text); }
        close() {}
      };
      var client = tidings.connect({ url: 'ws://x/socketServer', topics: ['news'], fallback: false });`,
      context,
    );
    const run = async (script: string): Promise<void> => {
      runInContext(script, context);
      // The client asks for a ticket first, and gathers marks of one turn.
      await new Promise((resolve) => setImmediate(resolve));
    };
    await run('');
    await run('socket.onopen()');
    const { topics, device } = JSON.parse(sent[0]!);
    assert.deepEqual(topics, ['news']);
    assert.match(device, /^[0-9a-f]{32}$/);
    const channels = {
      inbox: { position: at(0), recovered: true },
      news: { position: at(0), recovered: true },
    };
    const welcome = { type: 'welcome', session: 's', instance: 'i', user: 'alice', channels };
    await run(`socket.onmessage({ data: ${JSON.stringify(JSON.stringify(welcome))} })`);
    if (bundle !== coreBundle) {
      await run(`client.publish('news', { list: [1, [2]] }).catch(() => {})`);
      assert.deepEqual(JSON.parse(sent.at(-1)!).data, { list: [1, [2]] });
      const positions = JSON.stringify([{ position: at(1) }, { position: at(2) }]);
      await run(`var changed; client.inbox.markRead(${positions}).then((value) => { changed = value; })`);
      const { messages, ref } = JSON.parse(sent.at(-1)!);
      assert.deepEqual(messages, [at(1), at(2)]);
      const marked = JSON.stringify({ type: 'marked', ref, changed: 2, version: at(1) });
      await run(`socket.onmessage({ data: ${JSON.stringify(marked)} })`);
      assert.equal(context['changed'], 2);
    }
    await run('client.close()');
  });
}
