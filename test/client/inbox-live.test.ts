/** `client.inbox` with real push servers: two instances on each store, pages over each transport, devices of one user. */
import assert from 'node:assert/strict';
import { WebSocket } from 'ws';
import { Client, type ConnectOptions, type Transport, type TransportFactory } from '../../src/client/full.ts';
import { sockJsTransport } from '../../src/client/sockjs-transport.ts';
import { type WebSocketConstructor, webSocketTransport } from '../../src/client/transport.ts';
import type { PushServer, PushServerOptions } from '../../src/index.ts';
import { onEachStore } from '../push/stores.ts';
import { startPush } from '../push/support.ts';
import { atEnd } from '../support/cleanups.ts';
import { until } from '../support/net.ts';

interface Mail {
  n: number;
}
const ways: TransportFactory[] = [
  webSocketTransport(WebSocket as unknown as WebSocketConstructor),
  sockJsTransport(undefined, 'xhr_streaming'),
  sockJsTransport(undefined, 'xhr'),
];

interface Device {
  client: Client<Mail>;
  messages: number[];
  withdrawn: string[];
  /** Takes the way away, and says when it may be had again. */
  cut(): void;
  isCut: boolean;
}

/** A page of alice's, over the way of this number. */
function device(url: string, way: number, options: ConnectOptions = {}): Device {
  let current: Transport | undefined;
  const result: Device = {
    messages: [],
    withdrawn: [],
    isCut: false,
    cut() {
      result.isCut = true;
      end?.(1006, 'cut');
    },
  } as unknown as Device;
  let end: ((code: number, reason: string) => void) | undefined;
  const client = new Client<Mail>({
    url,
    user: 'alice',
    userParameter: 'user',
    device: `d${way}`,
    reconnect: { min: 1, max: 20 },
    ...options,
    transport: (address, protocols, events) => {
      if (result.isCut) throw new Error('no way');
      end = (code, reason) => {
        current?.close();
        events.close(code, reason);
      };
      current = ways[way % ways.length]!(address, protocols, events);
      return current;
    },
  });
  atEnd(() => (client as Client).close());
  client.on('message', ({ data }) => void result.messages.push(data.n));
  client.on('withdrawn', ({ id }) => void result.withdrawn.push(id));
  return Object.assign(result, { client });
}

/** What a page shows: the numbers of its mails, and what was done with them. */
const shown = ({ client }: Device) =>
  client.inbox.items.map(({ data, state }) => `${data.n} ${state}`).join();

/** All devices and all instances agree on every state and every count. */
async function agree(pushes: PushServer[], devices: Device[]): Promise<string> {
  const page = await pushes[0]!.inbox('alice', { limit: 200 });
  const truth = page.messages.map(({ data, state }) => `${(data as Mail).n} ${state}`).join();
  for (const push of pushes) assert.deepEqual(await push.counts('alice'), page.counts);
  for (const [n, one] of devices.entries())
    await until(`device ${n} to show ${truth}`, () => {
      const counts = JSON.stringify(one.client.inbox.counts);
      return counts === JSON.stringify(page.counts) && shown(one) === truth;
    });
  return truth;
}

const options: PushServerOptions = { sockjs: { prefix: '/sockjs/socketServer' } };

onEachStore(
  'what is done on one device shows on all, over every transport and across instances',
  async (broker) => {
    const servers = [
      await startPush({ ...options, broker: broker() }),
      await startPush({ ...options, broker: broker() }),
    ];
    const pushes = servers.map(({ push }) => push);
    const devices = [0, 1, 2].map((way) => device(servers[way % 2]!.url, way));
    await until('all are there', () => devices.every(({ client }) => client.inbox.counts));
    const receipts = [];
    for (let n = 1; n <= 12; n++)
      receipts.push(await pushes[n % 2]!.send('alice', { n }, { ...(n === 5 && { replaces: 'five' }) }));
    await until('all have all', () => devices.every(({ messages }) => messages.length === 12));
    await agree(pushes, devices);

    const [a, b, c] = devices.map(({ client }) => client.inbox) as [
      Client<Mail>['inbox'],
      Client<Mail>['inbox'],
      Client<Mail>['inbox'],
    ];
    assert.equal(await a.markAllSeen(), 12);
    assert.equal(await b.markRead(b.items.slice(0, 4)), 4);
    assert.equal(await c.markUnread(c.items[1]!.id), 1);
    assert.equal(await a.archive(a.items.slice(0, 2)), 2);
    assert.equal(await b.remove(b.items.at(-1)!), 1);
    assert.equal(
      await agree(pushes, devices),
      '10 read,9 read,8 seen,7 seen,6 seen,5 seen,4 seen,3 seen,2 seen',
    );
    const archived = await c.list({ state: 'archived' });
    assert.deepEqual(
      archived.items.map(({ data, archived }) => [data.n, archived]),
      [
        [12, true],
        [11, true],
      ],
    );
    assert.equal(await c.unarchive(archived.items), 2);

    // In the place of another, withdrawn, and for a moment only.
    await pushes[0]!.send('alice', { n: 55 }, { replaces: 'five' });
    await pushes[1]!.withdraw('alice', { id: receipts[7]!.id });
    await pushes[0]!.send('alice', { n: 99 }, { ttl: 50 });
    await until('the last is gone', async () => (await pushes[0]!.counts('alice')).all === 10);
    assert.equal(
      await agree(pushes, devices),
      '55 unseen,12 read,11 seen,10 read,9 read,7 seen,6 seen,4 seen,3 seen,2 seen',
    );
    for (const { withdrawn } of devices) {
      assert.equal(new Set(withdrawn).size, withdrawn.length);
      for (const n of [1, 5, 8]) assert.ok(withdrawn.includes(receipts[n - 1]!.id), `${n} was told`);
    }
  },
);

onEachStore(
  'a page that opens has the counts without one message, and its history as it was left',
  async (broker) => {
    const { push, url } = await startPush({ ...options, broker: broker() });
    for (let n = 1; n <= 30; n++) await push.send('alice', { n });
    await push.mark('alice', { as: 'read', upTo: (await push.inbox('alice', { limit: 1 })).messages[0]! });
    for (let n = 31; n <= 35; n++) await push.send('alice', { n });
    for (const way of [0, 1, 2]) {
      const one = device(url, way, { device: null });
      await until('counts', () => one.client.inbox.counts);
      assert.deepEqual([one.client.inbox.counts, one.messages], [{ unseen: 5, unread: 5, all: 35 }, []]);
      while (one.client.inbox.hasMore) await one.client.inbox.load({ limit: 13 });
      const truth = (await push.inbox('alice', { limit: 200 })).messages.map(
        ({ data, state }) => `${(data as Mail).n} ${state}`,
      );
      assert.equal(shown(one), truth.join());
      one.client.close();
    }
  },
);

onEachStore(
  'marks made without a connection are said when there is one, and what others did meanwhile holds',
  async (broker) => {
    const { push, url } = await startPush({ ...options, broker: broker() });
    const devices = [0, 1].map((way) => device(url, way));
    const [phone, desktop] = devices as [Device, Device];
    await until('both are there', () => devices.every(({ client }) => client.inbox.counts));
    for (let n = 1; n <= 200; n++) await push.send('alice', { n });
    await until('both have all', () => devices.every(({ messages }) => messages.length === 200));
    phone.cut();
    await until('cut', () => phone.client.state.name !== 'connected');
    const answers = phone.client.inbox.items.slice(0, 100).map((item) => phone.client.inbox.markRead(item));
    await Promise.resolve();
    answers.push(phone.client.inbox.markUnread(phone.client.inbox.items[0]!));
    assert.equal(phone.client.inbox.counts?.unread, 101);
    await desktop.client.inbox.archive(desktop.client.inbox.items.slice(150));
    await push.withdraw('alice', { id: desktop.client.inbox.items[5]!.id });
    phone.isCut = false;
    await Promise.all(answers);
    await agree([push], devices);
    assert.deepEqual(await push.counts('alice'), { unseen: 50, unread: 51, all: 149 });
  },
);

onEachStore(
  'a topic: what is withdrawn leaves all pages that have it, and reaches none that comes later',
  async (broker) => {
    const { push, url } = await startPush({ ...options, broker: broker() });
    const here = device(url, 0, { topics: ['news'] });
    await until('subscribed', () => here.client.state.name === 'connected');
    await here.client.subscribe('news');
    const first = await push.publish('news', { n: 1 });
    await push.publish('news', { n: 2 });
    await until('both', () => here.messages.length === 2);
    assert.equal(await push.withdrawFrom('news', { id: first.id }), true);
    await until('told', () => here.withdrawn.length);
    assert.deepEqual(here.withdrawn, [first.id]);
    const later = device(url, 1, { topics: ['news'], start: 'beginning', device: null });
    await until('the second', () => later.messages.length);
    here.cut();
    here.isCut = false;
    await push.publish('news', { n: 3 });
    await until('all', () => [here, later].every(({ messages }) => messages.at(-1) === 3));
    assert.deepEqual(
      [here.messages, later.messages],
      [
        [1, 2, 3],
        [2, 3],
      ],
    );
    assert.deepEqual([here.withdrawn, later.withdrawn], [[first.id], []]);
  },
);
