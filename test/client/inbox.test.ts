/** `client.inbox` against a server whose every answer the test gives: orders and losses that a real one has by accident. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Client, type ConnectOptions, type InboxItem } from '../../src/client/full.ts';
import type { WebSocketConstructor } from '../../src/client/transport.ts';
import type { MarkFrame, StateSnapshot, WireMessage } from '../../src/push/talk/wire.ts';
import { until } from '../support/net.ts';
import { at, type ScriptedConnection, ScriptedServer } from './scripted-server.ts';

let server: ScriptedServer;
const clients: Client[] = [];
beforeEach(async () => {
  server = await ScriptedServer.start();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await server.stop();
});

function open(options: ConnectOptions = {}) {
  const client = new Client<string>({
    url: server.url,
    WebSocket: WebSocket as unknown as WebSocketConstructor,
    reconnect: { min: 1, max: 20 },
    ...options,
  });
  clients.push(client as Client);
  const messages: unknown[] = [];
  const errors: unknown[] = [];
  const withdrawn: string[] = [];
  client.on('message', ({ data }) => void messages.push(data));
  client.on('error', (error) => void errors.push(error));
  client.on('withdrawn', ({ channel, id }) => void withdrawn.push(`${channel} ${id}`));
  return { client, inbox: client.inbox, messages, errors, withdrawn };
}

/** The marks number `version`. */
function state(version: number, marks: Partial<StateSnapshot> = {}): StateSnapshot {
  return {
    version: at(version, 'v1'),
    first: 1,
    last: 0,
    most: 1000,
    seen: [],
    read: [],
    archived: [],
    gone: [],
    ...marks,
  };
}

const welcome = (snapshot: StateSnapshot, offset = snapshot.last) => ({
  channels: { inbox: { position: at(offset), recovered: true, state: snapshot } },
});

/** A client that is connected, with messages 1 to `last` in its list, of which none was seen. */
async function opened(last: number, options: ConnectOptions = {}) {
  const page = open(options);
  const connection = await server.next();
  await connection.welcome(welcome(state(0, { last: 0 }), 0));
  for (let offset = 1; offset <= last; offset++) connection.message(offset);
  await until('all messages', () => page.messages.length === last && page.inbox.items.length === last);
  return { ...page, connection };
}

const offsets = (items: readonly InboxItem[]) => items.map(({ position }) => position.offset);
const states = (items: readonly InboxItem[]) =>
  items.map(({ position, state }) => `${position.offset} ${state}`);
const say = (connection: ScriptedConnection, snapshot: StateSnapshot, channel = 'inbox') =>
  connection.send({ type: 'state', channel, ...snapshot });
const marked = (connection: ScriptedConnection, { ref }: MarkFrame, version: number, changed = 1) =>
  connection.send({ type: 'marked', ref: ref as string, changed, version: at(version, 'v1') });

describe('counts', () => {
  test('are there with the welcome, without one item; messages that these have counted count once', async () => {
    const { client, inbox } = open();
    assert.equal(inbox.counts, undefined);
    const told: unknown[] = [];
    inbox.on('counts', (counts) => void told.push(counts));
    const connection = await server.next();
    await connection.welcome(
      welcome(
        state(3, {
          last: 40,
          seen: [[1, 40]],
          read: [
            [1, 35],
            [37, 38],
          ],
          archived: [[2, 3]],
          gone: [
            [5, 5],
            [36, 36],
          ],
        }),
        38,
      ),
    );
    await until('counts', () => inbox.counts);
    assert.deepEqual(inbox.counts, { unseen: 0, unread: 2, all: 36 });
    assert.deepEqual(inbox.items, []);
    connection.message(39);
    connection.message(40);
    await until('two', () => inbox.items.length === 2);
    assert.deepEqual(inbox.counts, { unseen: 0, unread: 2, all: 36 });
    connection.message(41);
    await until('three', () => inbox.items.length === 3);
    assert.deepEqual(inbox.counts, { unseen: 1, unread: 3, all: 37 });
    assert.deepEqual(states(inbox.items), ['41 unseen', '40 seen', '39 seen']);
    await until('told', () => JSON.stringify(told.at(-1)) === JSON.stringify(inbox.counts));
    assert.ok(told.length <= 2, `told ${told.length} times`);
    assert.equal(client.state.name, 'connected');
  });

  test('lose what the server keeps no longer, with each message that it has no room for', async () => {
    const { inbox } = open();
    const connection = await server.next();
    await connection.welcome(
      welcome(state(1, { first: 6, last: 10, most: 5, read: [[1, 7]], seen: [[1, 7]] })),
    );
    for (let offset = 11; offset <= 18; offset++) connection.message(offset);
    await until('the newest', () => offsets(inbox.items)[0] === 18);
    assert.deepEqual(inbox.counts, { unseen: 5, unread: 5, all: 5 });
    assert.deepEqual(offsets(inbox.items), [18, 17, 16, 15, 14]);
  });
});

describe('a mark', () => {
  for (const stateFirst of [true, false]) {
    test(`shows at once, and the server's word counts once its state has it (state ${stateFirst ? 'before' : 'after'} marked)`, async () => {
      const { inbox, connection } = await opened(3);
      const answer = inbox.markRead(inbox.items[0]!);
      assert.deepEqual(states(inbox.items), ['3 read', '2 unseen', '1 unseen']);
      assert.deepEqual(inbox.counts, { unseen: 2, unread: 2, all: 3 });
      const frame = await connection.frame('mark');
      assert.deepEqual([frame.as, frame.messages], ['read', [at(3)]]);
      const after = state(1, { last: 3, seen: [[3, 3]], read: [[3, 3]] });
      if (stateFirst) say(connection, after);
      marked(connection, frame, 1);
      assert.equal(await answer, 1);
      assert.deepEqual(states(inbox.items), ['3 read', '2 unseen', '1 unseen']);
      if (!stateFirst) say(connection, after);
      // Another device says otherwise: nothing of the mark is left to contradict it.
      say(connection, state(2, { last: 3, seen: [[3, 3]] }));
      await until('unread', () => inbox.counts?.unread === 3);
      assert.deepEqual(states(inbox.items), ['3 seen', '2 unseen', '1 unseen']);
    });
  }

  test('the first of all, whose answer comes before any state of its epoch, does not flicker', async () => {
    const page = open();
    const connection = await server.next();
    await connection.welcome(welcome({ ...state(0), version: { epoch: '', offset: 0, id: '' } }, 0));
    connection.message(1);
    await until('one', () => page.inbox.items.length);
    const answer = page.inbox.markRead(page.inbox.items);
    marked(connection, await connection.frame('mark'), 1);
    await answer;
    assert.equal(page.inbox.counts?.unread, 0);
    say(connection, state(1, { last: 1, seen: [[1, 1]], read: [[1, 1]] }));
    say(connection, state(2, { last: 1, seen: [[1, 1]] }));
    await until('unread', () => page.inbox.counts?.unread === 1);
  });

  test('that is refused is undone, of several only this one, and its promise says why', async () => {
    const { inbox, connection } = await opened(2);
    const [first, second] = [inbox.archive(inbox.items[1]!), inbox.remove(inbox.items[0]!)];
    assert.deepEqual([inbox.items, inbox.counts?.all], [[], 0]);
    const frames = [await connection.frame('mark'), await connection.frame('mark', 1)];
    assert.deepEqual(
      frames.map(({ as }) => as),
      ['archived', 'deleted'],
    );
    connection.send({ type: 'error', code: 'rejected', message: 'too many ranges', ref: frames[0]!.ref! });
    await assert.rejects(first, { code: 'rejected' });
    assert.deepEqual(offsets(inbox.items), [1]);
    marked(connection, frames[1]!, 1);
    assert.equal(await second, 1);
    assert.deepEqual(offsets(inbox.items), [1]);
  });

  test('that is lost, as the client is closed, is undone', async () => {
    const { client, inbox, connection } = await opened(1);
    const answer = inbox.markRead(inbox.items);
    await connection.frame('mark');
    const ignored = inbox.markSeen('no such id');
    assert.equal(inbox.counts?.unread, 0);
    client.close();
    await assert.rejects(answer, /closed/);
    await assert.rejects(ignored, TypeError);
    assert.equal(inbox.counts?.unread, 1);
    await assert.rejects(inbox.markAllRead(), /closed/);
  });

  test('waits for a connection, in order with others, and is said again after a loss', async () => {
    const { inbox, connection } = await opened(3);
    connection.socket.close(4412);
    await until('gone', () => connection.closed);
    const answers = [
      inbox.markAllRead(),
      inbox.markUnread(inbox.items[1]!),
      inbox.archive(inbox.items[0]!.id),
    ];
    assert.deepEqual(states(inbox.items), ['2 seen', '1 read']);
    const second = await server.next();
    const hello = await second.frame('hello');
    assert.deepEqual(hello.states, { inbox: at(0, 'v1') });
    second.sendWelcome(welcome(state(0, { last: 3 })));
    await second.frame('mark', 2);
    second.socket.terminate();
    const third = await server.next();
    await third.welcome(welcome(state(1, { last: 3, seen: [[1, 3]], read: [[1, 3]] })));
    const again = await third.frame('mark', 2);
    assert.equal(again.as, 'archived');
    const marks = third.frames.filter((frame) => frame.type === 'mark');
    assert.deepEqual(
      marks.map(({ as }) => as),
      ['read', 'unread', 'archived'],
    );
    assert.deepEqual([marks[0]!.upTo, marks[1]!.messages], [at(3), [at(2)]]);
    marks.forEach((frame, n) => {
      marked(third, frame, n + 1, n);
    });
    assert.deepEqual(await Promise.all(answers), [0, 1, 2]);
    say(
      third,
      state(3, {
        last: 3,
        seen: [[1, 3]],
        read: [
          [1, 1],
          [3, 3],
        ],
        archived: [[3, 3]],
      }),
    );
    await until('corrected', () => inbox.counts?.unread === 1 && inbox.counts.all === 2);
    assert.deepEqual(states(inbox.items), ['2 seen', '1 read']);
  });

  test('two hundred at once go in one frame, and tell the page once', async () => {
    const { inbox, connection } = await opened(200);
    let changes = 0;
    inbox.on('change', () => void changes++);
    const answers = inbox.items.map((item) => inbox.markRead(item));
    assert.equal(inbox.counts?.unread, 0);
    const frame = await connection.frame('mark');
    assert.equal(frame.messages?.length, 200);
    // On a slow machine it takes a while until the page is told of a long list.
    await until('told', () => changes > 0);
    assert.equal(changes, 1);
    marked(connection, frame, 1, 200);
    await Promise.all(answers);
    await turn();
    assert.equal(connection.frames.filter(({ type }) => type === 'mark').length, 1);
    assert.equal(changes, 1);
  });

  test('at most a thousand wait', async () => {
    const { inbox, connection } = await opened(1);
    connection.socket.terminate();
    await connection.closed;
    const item = inbox.items[0]!;
    const outcomes: Promise<unknown>[] = [];
    for (let n = 0; n < 1005; n++)
      outcomes.push((n % 2 ? inbox.markRead(item) : inbox.markUnread(item)).then(() => 'kept', String));
    const refused = (await Promise.all(outcomes.slice(1000))) as string[];
    assert.ok(
      refused.every((text) => /under way/.test(text)),
      refused.join(),
    );
  });

  test('of all marks what the page has, not what is only on its way to it', async () => {
    const { inbox, connection } = await opened(2);
    say(connection, state(1, { last: 3 }));
    await until('three', () => inbox.counts?.all === 3);
    const answer = inbox.markAllSeen();
    assert.deepEqual(inbox.counts, { unseen: 1, unread: 3, all: 3 });
    const frame = await connection.frame('mark');
    assert.deepEqual([frame.as, frame.upTo, frame.messages], ['seen', at(2), undefined]);
    marked(connection, frame, 2, 2);
    assert.equal(await answer, 2);
  });

  test('nobody’s own is said in another user’s name', async () => {
    const { inbox, connection } = await opened(1);
    connection.socket.terminate();
    const answer = inbox.markAllRead();
    const second = await server.next();
    await second.welcome({ user: 'bob' });
    await assert.rejects(answer, /another user/);
    assert.deepEqual(inbox.items, []);
    const third = await server.next();
    assert.deepEqual((await third.frame('hello')).states, undefined);
    third.sendWelcome({ user: 'bob', ...welcome(state(9, { last: 4 })) });
    await until('bob', () => inbox.counts?.all === 4);
    assert.equal(third.frames.filter(({ type }) => type === 'mark').length, 0);
  });

  test('in plain mode there is none', async () => {
    const { inbox } = open({ plain: true });
    await assert.rejects(inbox.markAllRead(), /plain mode/);
    await assert.rejects(inbox.load(), /plain mode/);
    assert.equal(inbox.counts, undefined);
  });
});

describe('what is gone', () => {
  test('is not handed out, leaves the list, and is told once where the page has it', async () => {
    const { client, inbox, connection, messages, withdrawn } = await opened(2, { topics: ['news'] });
    connection.send({ type: 'subscribed', channel: 'news', position: at(0, 'n'), recovered: true });
    connection.message(1, 'n1', 'news', 'n');
    connection.send({ type: 'message', channel: 'inbox', ...at(3), time: 1, data: null, gone: true });
    say(connection, state(1, { last: 3, gone: [[2, 3]] }));
    say(connection, state(2, { last: 3, gone: [[2, 3]], read: [[1, 1]] }));
    say(connection, { version: at(1, 'nv'), first: 1, last: 1, most: 10, gone: [[1, 1]] }, 'news');
    await until('both', () => withdrawn.length === 2);
    assert.deepEqual(withdrawn, ['inbox e1-2', 'news n-1']);
    assert.deepEqual(messages, ['m1', 'm2', 'n1']);
    assert.deepEqual(offsets(inbox.items), [1]);
    assert.equal(inbox.counts?.all, 1);
    connection.socket.terminate();
    const second = await server.next();
    const hello = await second.frame('hello');
    assert.deepEqual(hello.positions?.['inbox'], at(3));
    assert.deepEqual(hello.states, { inbox: at(2, 'v1'), news: at(1, 'nv') });
    second.sendWelcome(welcome(state(2, { last: 3, gone: [[2, 3]], read: [[1, 1]] })));
    await until('connected', () => client.state.name === 'connected');
    client.unsubscribe('news');
    assert.equal(withdrawn.length, 2);
  });

  test('a message that is gone counts as handled: what comes after it is acknowledged', async () => {
    const { connection } = await opened(1, { device: 'd', ackDelay: 0 });
    connection.send({ type: 'message', channel: 'inbox', ...at(2), time: 1, data: null, gone: true });
    await until('the second', () =>
      connection.frames.some((frame) => frame.type === 'ack' && frame.position.offset === 2),
    );
  });

  test('also while nobody is connected: what was withdrawn meanwhile is told with the welcome', async () => {
    const { inbox, connection, withdrawn } = await opened(2);
    connection.socket.terminate();
    await (await server.next()).welcome(welcome(state(1, { last: 2, gone: [[1, 1]] })));
    await until('told', () => withdrawn.length);
    assert.deepEqual([withdrawn, offsets(inbox.items)], [['inbox e1-1'], [2]]);
  });

  test('what expires leaves by itself, by the server’s clock, and never early by a wrong one', async (t) => {
    const { inbox, connection } = await opened(1);
    const time = Date.now() - 3_600_000;
    const send = (offset: number, expires: number) =>
      connection.send({
        type: 'message',
        channel: 'inbox',
        ...at(offset),
        time,
        data: '',
        expires,
      } as WireMessage);
    // This clock is an hour ahead of the server's.
    send(2, time + 1_800_000);
    send(3, time + 100);
    await until('both', () => inbox.items.length >= 2);
    await until('one is over', () => offsets(inbox.items).join() === '2,1');
    assert.equal(inbox.counts?.all, 2);
    t.diagnostic('the second is there for half an hour');
  });
});

describe('history', () => {
  const page = (from: number, to: number) =>
    Array.from({ length: from - to + 1 }, (_, n) => ({
      ...at(from - n),
      time: 1,
      data: `h${from - n}`,
      state: 'read' as const,
    }));

  test('is loaded page by page, in order, without what is there; and says when there is no more', async () => {
    const { inbox } = open();
    const connection = await server.next();
    await connection.welcome(welcome(state(1, { last: 5, seen: [[1, 4]], read: [[1, 2]] })));
    connection.message(6);
    await until('live', () => inbox.items.length === 1);
    const loads = [inbox.load({ limit: 3 }), inbox.load({ limit: 3 }), inbox.load()];
    const first = await connection.frame('history');
    assert.deepEqual([first.before, first.limit], [undefined, 3]);
    connection.send({
      type: 'history',
      ref: first.ref!,
      messages: page(6, 4),
      before: at(4),
      counts: { unseen: 0, unread: 0, all: 0 },
    });
    const second = await connection.frame('history', 1);
    assert.deepEqual(second.before, at(4));
    assert.equal(inbox.hasMore, true);
    connection.send({
      type: 'history',
      ref: second.ref!,
      messages: page(3, 1),
      counts: { unseen: 0, unread: 0, all: 0 },
    });
    assert.deepEqual(
      (await Promise.all(loads)).map((items) => items.length),
      [3, 3, 0],
    );
    assert.equal(inbox.hasMore, false);
    // As the state says it, not the history, which is older.
    assert.deepEqual(states(inbox.items), ['6 unseen', '5 unseen', '4 seen', '3 seen', '2 read', '1 read']);
    assert.deepEqual(
      inbox.items.map(({ data }) => data),
      ['m6', 'h5', 'h4', 'h3', 'h2', 'h1'],
    );
  });

  test('list gives a page of any state without keeping it; binary data are bytes', async () => {
    const { inbox } = open();
    const connection = await server.next();
    await connection.welcome(welcome(state(1, { last: 5 })));
    const answer = inbox.list({ state: 'archived', before: at(3), limit: 7 });
    const { ref, type, ...asked } = await connection.frame('history');
    assert.deepEqual(asked, { state: 'archived', before: at(3), limit: 7 });
    connection.send({
      type: 'history',
      ref: ref!,
      messages: [{ ...at(2), time: 1, data: 'AQI=', encoding: 'base64', state: 'seen', archived: true }],
      counts: { unseen: 0, unread: 0, all: 0 },
    });
    const { items, before } = await answer;
    assert.deepEqual([items[0]!.data, items[0]!.archived, before], [new Uint8Array([1, 2]), true, undefined]);
    assert.deepEqual(inbox.items, []);
    const unarchived = inbox.unarchive(items);
    marked(connection, await connection.frame('mark'), 2);
    assert.equal(await unarchived, 1);
  });

  test('a log that begins anew: the list is that of the new one, and what a late page brings is not for it', async () => {
    const { inbox, connection, messages } = await opened(2);
    const late = inbox.load();
    const { ref } = await connection.frame('history');
    connection.send({
      type: 'gap',
      channel: 'inbox',
      position: at(0, 'e2'),
      recovered: false,
      reason: 'rewound',
      state: { ...state(1), version: at(1, 'v2') },
    });
    connection.send({
      type: 'history',
      ref: ref!,
      messages: page(2, 1),
      counts: { unseen: 0, unread: 0, all: 0 },
    });
    assert.deepEqual(await late, []);
    assert.deepEqual(inbox.items, []);
    assert.equal(inbox.counts?.all, 0);
    // The same message at another position: the page has had it, but its list has not.
    connection.send({
      type: 'message',
      channel: 'inbox',
      epoch: 'e2',
      offset: 1,
      id: 'e1-2',
      time: 1,
      data: 'm2',
    });
    connection.message(2, 'new', 'inbox', 'e2');
    await until('both', () => inbox.items.length === 2);
    assert.deepEqual(messages, ['m1', 'm2', 'new']);
    assert.deepEqual(inbox.counts, { unseen: 2, unread: 2, all: 2 });
    inbox.load();
    assert.equal((await connection.frame('history', 1)).before, undefined);
  });

  test('that nothing more is there is told, also where nothing came', async () => {
    const { inbox } = open();
    const connection = await server.next();
    await connection.welcome(welcome(state(0)));
    const told: boolean[] = [];
    inbox.on('change', () => void told.push(inbox.hasMore));
    const load = inbox.load();
    const { ref } = await connection.frame('history');
    const counts = { unseen: 0, unread: 0, all: 0 };
    connection.send({ type: 'history', ref: ref!, messages: [], counts });
    assert.deepEqual(await load, []);
    await until('told', () => told.length);
    assert.deepEqual(told, [false]);
  });

  test('marks of a log that is gone show on no message of the new one', async () => {
    const { inbox, connection } = await opened(2);
    const [second, first] = inbox.items;
    const waiting = inbox.markRead(first!);
    connection.send({
      type: 'gap',
      channel: 'inbox',
      position: at(0, 'e2'),
      recovered: false,
      reason: 'rewound',
      state: { ...state(1), version: at(1, 'v2') },
    });
    connection.message(1, 'new', 'inbox', 'e2');
    connection.message(2, 'newer', 'inbox', 'e2');
    await until('both', () => inbox.items[0]?.data === 'newer');
    const late = inbox.markRead(second!);
    assert.deepEqual(states(inbox.items), ['2 unseen', '1 unseen']);
    for (const [n, answer] of [waiting, late].entries()) {
      const { ref } = await connection.frame('mark', n);
      connection.send({ type: 'marked', ref: ref!, changed: 0, version: at(1, 'v2') });
      assert.equal(await answer, 0);
    }
  });

  test('ten thousand messages in a row are shown without looking at all of them for each', async () => {
    const { inbox } = open();
    const connection = await server.next();
    await connection.welcome(welcome(state(0, { most: 20_000 })));
    let changes = 0;
    inbox.on('change', () => void changes++);
    connection.atOnce(() => {
      for (let offset = 1; offset <= 10_000; offset++) connection.message(offset);
    });
    await until('all', () => inbox.items.length === 10_000);
    await until('told', () => changes > 0);
    assert.equal(inbox.counts?.unread, 10_000);
  });

  test('a machine that sleeps while the list is looked at has the page wait for a second, not for nine times as long', async (t) => {
    const { inbox, connection } = await opened(1);
    let changes = 0;
    inbox.on('change', () => void changes++);
    let hours = 0;
    t.mock.method(performance, 'now', () => ++hours * 3_600_000);
    for (const offset of [2, 3, 4]) {
      connection.message(offset);
      await until('told', () => changes >= offset - 1);
    }
    assert.ok(hours > 0);
  });

  test('a store that has lost marks: its word counts, and waiting marks are said again', async () => {
    const { inbox, connection } = await opened(2);
    const first = inbox.markRead(inbox.items[0]!);
    marked(connection, await connection.frame('mark'), 1);
    await first;
    connection.socket.terminate();
    const waiting = inbox.markRead(inbox.items[1]!);
    const second = await server.next();
    await second.welcome(welcome({ ...state(1, { last: 2, rewound: true }), version: at(1, 'v2') }));
    assert.deepEqual((await second.frame('mark')).messages, [at(1)]);
    await until('the word of the store', () => states(inbox.items).join() === '2 unseen,1 read');
    second.send({ type: 'marked', ref: (await second.frame('mark')).ref!, changed: 1, version: at(2, 'v2') });
    assert.equal(await waiting, 1);
  });
});
