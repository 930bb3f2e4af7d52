/** What an application sends while it is told of a new session: the page gets it, after its welcome. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import type { PushServer } from '../../src/push/index.ts';
import { until } from '../support/net.ts';
import { faultyBroker } from './faulty-broker.ts';
import { onEachStore } from './stores.ts';
import { Page, startPush } from './support.ts';

onEachStore(
  'what `opened` sends, to the session or to its user, arrives: tidings.1 and plain mode',
  async (broker) => {
    let push: PushServer | undefined;
    let sent = 0;
    const running = await startPush({
      broker: broker(),
      handler: {
        opened: async (session) => {
          session.send('to the session');
          await push?.send(session.user, `stored ${session.user}`);
          sent++;
        },
      },
    });
    push = running.push;
    for (const round of [1, 2]) {
      const page = new Page(running.url, 'alice', ['tidings.1']);
      await until('an open page', () => page.socket.readyState === 1);
      await until('it is stored', () => sent === 2 * round - 1);
      assert.deepEqual(page.received, []);
      page.say({ type: 'hello', device: 'd', start: 'now' });
      await until('the greeting', () => page.messages().length > 0);
      assert.equal((page.received[0] as { type: string }).type, 'welcome');
      assert.deepEqual(
        page.frames('transient').map(({ data }) => data),
        ['to the session'],
      );
      assert.equal(page.data().at(-1), 'stored alice');
      const { epoch, offset, id } = page.messages().at(-1)!;
      page.say({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } });
      await page.frame('acked');
      assert.equal(page.messages().length, 1);
      await page.close();

      const plain = await Page.plain(running.url, `bob ${round}`);
      await until('both', () => plain.received.length === 2);
      assert.deepEqual(plain.received, ['to the session', `stored bob ${round}`]);
      await until('it is stored', () => sent === 2 * round);
      await plain.close();
    }
    await push.close();
  },
);

test('notify and broadcast in `opened` wait for the welcome, too, in their order', async () => {
  let push: PushServer | undefined;
  const running = await startPush({
    handler: {
      opened: async (session) => {
        session.send('1');
        await push?.notify(session.user, '2');
        await push?.broadcast('3');
        session.send('4');
      },
    },
  });
  push = running.push;
  const page = await Page.open(running.url, 'alice');
  await page.frame('transient', 3);
  assert.deepEqual(
    page.frames('transient').map(({ data }) => data),
    ['1', '2', '3', '4'],
  );
  await push.close();
});

test('what `opened` stores before the channel has its place arrives, too: tidings.1 and plain mode', async () => {
  const broker = faultyBroker(memoryBroker());
  let push: PushServer | undefined;
  let sent = 0;
  const running = await startPush({
    broker,
    limits: { helloTimeout: 60_000 },
    handler: {
      opened: async (session) => {
        await push?.send(session.user, 'one');
        await push?.send(session.user, 'two');
        sent++;
      },
    },
  });
  push = running.push;
  await push.send('alice', 'before');
  // The store takes messages, but the subscription comes late.
  broker.faults.refuses = (call) => call === 'subscribe';
  broker.listener.down(new Error('on purpose'));
  const page = new Page(running.url, 'alice', ['tidings.1']);
  await until('an open page', () => page.socket.readyState === 1);
  page.say({ type: 'hello', device: 'd' });
  const plain = new Page(running.url, 'bob');
  await until('all is stored', () => sent === 2);
  broker.faults.refuses = () => false;
  broker.listener.up();
  await page.frame('welcome');
  await until('both', () => page.messages().length === 2 && plain.received.length === 2);
  assert.deepEqual(page.data(), ['one', 'two']);
  assert.deepEqual(plain.received, ['one', 'two']);
  assert.equal((await page.frame('welcome')).channels['inbox']!.recovered, true);
  await push.close();
});

test('what waits for a hello is bounded by limits.outbox: 4430', async () => {
  const { push, url } = await startPush({ limits: { outbox: 100_000 } });
  const page = new Page(url, 'alice', ['tidings.1']);
  await until('a session', () => push.stats().sessions === 1);
  const [session] = push.localSessions();
  for (let i = 0; i < 20; i++) session!.send('x'.repeat(10_000));
  assert.equal(await page.ended(), 4430);
  await push.close();
});
