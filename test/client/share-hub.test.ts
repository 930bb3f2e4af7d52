/** The hub of tabs that share a connection, with a server and tabs of which each frame is the test's own. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { createHub } from '../../src/client/share/hub.ts';
import { ANEW, ENDED, type Saying } from '../../src/client/share/words.ts';
import type { TransportEvents } from '../../src/client/transport.ts';
import { at } from './scripted-server.ts';

/** Where a subscription goes on. */
const HERE = { position: at(3), recovered: true };
const HELLO = { type: 'hello', device: 'd', positions: { inbox: at(3) }, topics: [] };

function start({
  hello = HELLO as object,
  address = async (): Promise<[string, string[]]> => ['ws://x/', []],
} = {}) {
  const said: Saying[] = [];
  /** Without the refs that are the hub's own. */
  const sent: Record<string, unknown>[] = [];
  /** Of subscriptions without an answer, oldest first. */
  const refs: { channel: unknown; ref: unknown }[] = [];
  const record = ({ ref, ...frame }: Record<string, unknown>): void => {
    const { type, channel } = frame;
    if (type === 'subscribe') refs.push({ channel, ref });
    sent.push(`${ref}`.startsWith('hub') || ref === undefined ? frame : { ...frame, ref });
  };
  const mourned = new Map<string, () => void>();
  const log: string[] = [];
  let events!: TransportEvents;
  const hub = createHub(
    (_url, _protocols, given) => {
      events = given;
      return { send: (text) => record(JSON.parse(text)), close: () => log.push('closed') };
    },
    'own',
    {
      say: (saying) => void said.push(saying),
      address,
      failed: () => log.push('failed'),
      named: (user) => void log.push(`user ${user}`),
      mourn(tab, gone) {
        mourned.set(tab, gone);
        return () => mourned.delete(tab);
      },
      dead: () => void log.push('dead'),
      slow: () => void log.push('slow'),
    },
  );
  const take = (tab: string, frame: object): void => hub.take(tab, JSON.stringify(frame));
  const raw = (text: string): void => events.message(text);
  /** An answer has the ref of the oldest question that it may be of, where none is given. */
  const serve = (frame: Record<string, unknown>): void => {
    const { type, channel, ref, code } = frame;
    const isAnswer = type === 'subscribed' || (type === 'error' && code !== 'no-presence');
    const index = isAnswer
      ? refs.findIndex((one) => one.channel === channel && (!ref || one.ref === ref))
      : -1;
    const [one] = index < 0 ? [] : refs.splice(index, 1);
    raw(JSON.stringify(one ? { ref: one.ref, ...frame } : frame));
  };
  /** What was said to a tab since the last call. */
  const heard = (tab: string): unknown[] => {
    const own = said.filter(([to]) => to === '' || to === tab);
    said.length = 0;
    return own.map(([, what]) => (typeof what === 'string' && what !== '' ? JSON.parse(what).type : what));
  };
  const open = async (channels: object = { inbox: { position: at(3), recovered: true, acked: at(2) } }) => {
    await Promise.resolve();
    await Promise.resolve();
    take('own', hello);
    events.open();
    serve({
      type: 'welcome',
      session: 's',
      instance: 'i',
      user: 'alice',
      expiresIn: 60_000,
      heartbeat: {},
      channels,
    });
  };
  const message = (offset: number, channel = 'inbox') =>
    serve({ type: 'message', channel, ...at(offset), time: 1, data: offset });
  return {
    hub,
    said,
    sent,
    refs,
    mourned,
    log,
    take,
    serve,
    raw,
    heard,
    open,
    message,
    close: (code: number) => events.close(code, 'why'),
  };
}

test('it greets for its own tab, which is told where it begins and what the server has said', async () => {
  const { open, sent, said, log } = start();
  await open();
  assert.deepEqual(sent, [HELLO]);
  assert.deepEqual(log, ['user alice']);
  assert.deepEqual(said[0], ['own', '', 'inbox', undefined, at(3)]);
  assert.equal(JSON.parse(said[1]![1] as string).expiresIn, 60_000);
});

test('a tab that comes is subscribed from its own positions, and welcomed with what the server says of them', async () => {
  const { open, sent, said, take, serve } = start();
  await open();
  take('a', { ...HELLO, positions: { inbox: at(1) }, topics: ['news'] });
  assert.deepEqual(sent.slice(1), [{ type: 'subscribe', channel: 'inbox', position: at(1) }]);
  said.length = 0;
  serve({ type: 'subscribed', channel: 'inbox', position: at(1), recovered: true });
  assert.deepEqual(said[0], ['a', '', 'inbox', undefined, at(1)]);
  const { expiresIn, channels } = JSON.parse(said[1]![1] as string);
  assert.equal(expiresIn, undefined, 'tickets are the leader’s matter');
  assert.deepEqual(channels.inbox.acked, at(2));
  assert.equal(channels.inbox.recovered, true);
  assert.deepEqual(sent.slice(2), [{ type: 'subscribe', channel: 'news' }]);
});

test('messages go to all with the offset before each, so that a tab sees what it misses', async () => {
  const { open, said, message } = start();
  await open();
  said.length = 0;
  message(4);
  message(7);
  assert.deepEqual(
    said.map(([to, , channel, after, position]) => [to, channel, after, position]),
    [
      ['', 'inbox', 3, at(4)],
      ['', 'inbox', 4, at(7)],
    ],
  );
});

test('where a tab was ahead, the stream goes back to where the others are before anything else is said', async () => {
  const { open, said, sent, take, serve, message } = start();
  await open();
  take('a', { ...HELLO, positions: { inbox: at(9) } });
  serve({ type: 'subscribed', channel: 'inbox', position: at(9), recovered: true });
  assert.deepEqual(sent.at(-1), { type: 'subscribe', channel: 'inbox', position: at(3) });
  said.length = 0;
  message(10);
  assert.equal(said.length, 0);
  serve({ type: 'subscribed', channel: 'inbox', position: at(3), recovered: true });
  message(4);
  assert.deepEqual(
    said.map(([, , , after, position]) => [after, position]),
    [[3, at(4)]],
  );
});

test('answers go to who has asked, and what nobody has asked for is thrown away', async () => {
  const { open, take, serve, said, heard } = start();
  await open();
  take('a', HELLO);
  serve({ type: 'subscribed', channel: 'inbox', position: at(3), recovered: true });
  said.length = 0;
  take('a', { type: 'publish', channel: 'news', data: 1, ref: 'r1' });
  serve({ type: 'published', channel: 'news', ref: 'r1', ...at(1), duplicate: false });
  assert.deepEqual(
    said.map(([to]) => to),
    ['a'],
  );
  heard('a');
  take('stranger', { type: 'publish', channel: 'news', data: 1, ref: 'r2' });
  assert.deepEqual(said, [['stranger', ANEW]]);
});

test('a topic is left when the last tab has left it, been closed, or died without a word', async () => {
  const { open, take, serve, sent, mourned, hub } = start();
  await open();
  for (const tab of ['a', 'b', 'c']) {
    take(tab, HELLO);
    serve({ type: 'subscribed', channel: 'inbox', position: at(3), recovered: true });
    take(tab, { type: 'subscribe', channel: 'news' });
    serve({ type: 'subscribed', channel: 'news', position: at(5), recovered: true });
  }
  sent.length = 0;
  take('a', { type: 'unsubscribe', channel: 'news' });
  hub.take('b', '');
  assert.deepEqual(sent, []);
  mourned.get('c')!();
  assert.deepEqual(sent, [{ type: 'unsubscribe', channel: 'news' }]);
});

test('where one tab may not have a topic, it is told; the others, whose subscription that ended, ask for themselves', async () => {
  const { open, take, serve, said } = start();
  await open();
  for (const tab of ['a', 'b']) {
    take(tab, HELLO);
    serve({ type: 'subscribed', channel: 'inbox', position: at(3), recovered: true });
  }
  take('a', { type: 'subscribe', channel: 'news' });
  serve({ type: 'subscribed', channel: 'news', position: at(5), recovered: true });
  said.length = 0;
  take('b', { type: 'subscribe', channel: 'news', ticket: 'bad' });
  serve({ type: 'error', code: 'forbidden', message: 'no', channel: 'news' });
  assert.deepEqual(
    said.map(([to, what]) => [to, typeof what === 'string' ? JSON.parse(what).code : what]),
    [
      ['b', 'forbidden'],
      ['a', ANEW],
    ],
  );
  // What the application takes, it takes from all.
  take('a', { type: 'subscribe', channel: 'room' });
  serve({ type: 'subscribed', channel: 'room', position: at(1), recovered: true });
  said.length = 0;
  serve({ type: 'unsubscribed', channel: 'room', reason: 'revoked' });
  assert.deepEqual(
    said.map(([to, , channel, after]) => [to, channel, after]),
    [['a', 'room', ENDED]],
  );
});

test('what is wrong with a frame that no tab waits for is not the answer to a subscription', async () => {
  const { open, take, serve, said, heard } = start();
  await open();
  for (const tab of ['a', 'b']) take(tab, HELLO);
  take('own', { type: 'ack', channel: 'inbox', position: at(3) });
  said.length = 0;
  serve({ type: 'error', code: 'unavailable', channel: 'inbox', ref: 'hub' });
  assert.deepEqual(
    said.map(([to, what]) => [to, JSON.parse(what as string).code]),
    [['own', 'unavailable']],
  );
  for (const tab of ['a', 'b']) {
    said.length = 0;
    serve({ type: 'subscribed', channel: 'inbox', ...HERE });
    assert.deepEqual([...new Set(said.map(([to]) => to))], [tab]);
    assert.ok(heard(tab).includes('welcome'));
  }
  // The server has ended it while the last tab left; another one asks for it.
  take('a', { type: 'subscribe', channel: 'news' });
  serve({ type: 'subscribed', channel: 'news', ...HERE });
  take('a', { type: 'unsubscribe', channel: 'news' });
  take('b', { type: 'subscribe', channel: 'news' });
  said.length = 0;
  serve({ type: 'error', code: 'not-subscribed', channel: 'news', ref: 'hub' });
  assert.equal(said.length, 0);
  serve({ type: 'subscribed', channel: 'news', ...HERE });
  assert.deepEqual(
    said.filter(([, what]) => what !== '').map(([to, what]) => [to, JSON.parse(what as string).type]),
    [['b', 'subscribed']],
  );
});

test('each tab has the answer to its own question, in whatever order they come; one whose place was taken greets anew', async () => {
  const { open, take, serve, said, refs } = start();
  await open();
  for (const [tab, n] of [
    ['a', 1],
    ['b', 2],
    ['c', 3],
  ] as const)
    take(tab, { ...HELLO, positions: { inbox: at(n) } });
  const [a, b, c] = refs.map(({ ref }) => ref as string);
  const positions = () =>
    said.flatMap(([to, , channel, , position]) => (channel === 'inbox' ? [[to, position?.offset]] : []));
  said.length = 0;
  serve({ type: 'subscribed', channel: 'inbox', position: at(3), recovered: true, ref: c! });
  assert.deepEqual(positions(), [['c', 3]]);
  said.length = 0;
  serve({ type: 'error', code: 'unavailable', channel: 'inbox', ref: a! });
  assert.deepEqual(said, [['a', ANEW]]);
  said.length = 0;
  serve({ type: 'subscribed', channel: 'inbox', position: at(2), recovered: true, ref: b! });
  assert.deepEqual(positions(), [['b', 2]]);
});

test('the highest acknowledgement of all tabs goes to the server, not before it was sent on this connection', async () => {
  const { open, take, serve, sent, message } = start();
  await open();
  take('a', HELLO);
  serve({ type: 'subscribed', channel: 'inbox', position: at(3), recovered: true });
  sent.length = 0;
  take('a', { type: 'ack', channel: 'inbox', position: at(5) });
  message(4);
  assert.deepEqual(sent, []);
  message(5);
  take('own', { type: 'ack', channel: 'inbox', position: at(4) });
  take('own', { type: 'ack', channel: 'inbox', position: at(5) });
  assert.deepEqual(sent, [{ type: 'ack', channel: 'inbox', position: at(5) }]);
});

test('who is told of a close: a refusal only whose ticket it was, a frame that no server takes only whose it was', async () => {
  for (const [code, whose] of [
    [4501, 'own'],
    [4503, 'own'],
    [4509, ''],
    [1006, ''],
    [1009, 'a'],
    [4500, 'a'],
  ] as const) {
    const { open, take, serve, said, close, log } = start();
    await open();
    take('a', HELLO);
    serve({ type: 'subscribed', channel: 'inbox', position: at(3), recovered: true });
    take('own', { type: 'publish', channel: 'n', data: 1, ref: 'r1' });
    take('a', { type: 'publish', channel: 'n', data: 'long'.repeat(9), ref: 'r2' });
    said.length = 0;
    close(code);
    // The others are told why, as they may be refused for that, too.
    const told = whose === 'own' ? [['', -code, 'why']] : [];
    assert.deepEqual(said, [...told, [whose, code, 'why']], String(code));
    assert.equal(log.includes('dead'), whose === 'a');
  }
});

test('what is no frame does no harm: of the server it goes to its own tab, of a tab to whoever passed it on', async () => {
  const { open, said, hub, take, raw } = start();
  await open();
  said.length = 0;
  const nonsense = ['{', '[]', 'null', '"x"', '{"type":"no-such"}', '{"type":"subscribed","channel":"x"}'];
  for (const text of nonsense) raw(text);
  assert.deepEqual(
    said.filter(([to]) => to === 'own').map(([, what]) => what),
    nonsense,
  );
  for (const text of ['{', 'null', '{"type":"hello","topics":5}', '{"type":"hello","positions":null}'])
    assert.throws(() => hub.take('hostile', text));
  take('a', HELLO);
});

test('a server that is silent is asked, and one that does not answer is given up; also where timers stand still', async (t) => {
  mock.timers.enable({ apis: ['Date', 'setTimeout'] });
  t.after(() => mock.timers.reset());
  const { open, hub, sent, serve, log, message } = start();
  await open();
  sent.length = 0;
  hub.check();
  assert.deepEqual(sent, []);
  mock.timers.tick(800);
  hub.check();
  assert.deepEqual(sent, [{ type: 'ping' }]);
  serve({ type: 'pong' });
  mock.timers.tick(300);
  hub.check();
  assert.equal(sent.length, 1);
  message(4);
  mock.timers.setTime(Date.now() + 60_000);
  hub.check();
  assert.equal(sent.length, 2);
  assert.equal(log.includes('dead'), false);
  mock.timers.setTime(Date.now() + 10_000);
  hub.check();
  assert.equal(log.includes('dead'), true);
});

test('it lets go where another tab asks for it, and nothing is dialled for about a second', async (t) => {
  mock.timers.enable({ apis: ['Date', 'setTimeout'] });
  t.after(() => mock.timers.reset());
  const { hub, log } = start({ address: () => new Promise(() => {}) });
  hub.check();
  mock.timers.tick(500);
  hub.check();
  // A single tab, of which nobody asks, takes its time.
  mock.timers.tick(60_000);
  assert.deepEqual(log, []);
  hub.check();
  assert.deepEqual(log, ['slow']);
  const other = start();
  await other.open();
  mock.timers.tick(950);
  other.hub.check();
  assert.equal(other.log.includes('slow'), false);
});

test('a topic that the application has taken is not given to tabs that come later', async () => {
  const { open, take, serve, sent } = start();
  await open({ inbox: { position: at(3), recovered: true }, room: { position: at(1), recovered: true } });
  const come = (id: string): unknown[] => {
    sent.length = 0;
    take(id, HELLO);
    serve({ type: 'subscribed', channel: 'inbox', position: at(3), recovered: true });
    return sent.map(({ channel }) => channel);
  };
  assert.deepEqual(come('a'), ['inbox', 'room']);
  serve({ type: 'subscribed', channel: 'room', position: at(1), recovered: true });
  serve({ type: 'unsubscribed', channel: 'room', reason: 'unsubscribed' });
  assert.deepEqual(come('b'), ['inbox']);
  serve({ type: 'subscribed', channel: 'room', position: at(1), recovered: true });
  assert.deepEqual(come('c'), ['inbox', 'room']);
});

test('who wants to know who is on a topic goes on to be told, whoever else comes to it or leaves', async () => {
  const { open, take, serve, sent, said } = start();
  await open();
  const come = (id: string, position: number): void => {
    take(id, { ...HELLO, topics: ['room'], positions: { inbox: at(3), room: at(position) } });
    serve({ type: 'subscribed', channel: 'inbox', position: at(3), recovered: true });
    serve({ type: 'subscribed', channel: 'room', position: at(position), recovered: true });
  };
  const told = (frame: object): string[] => {
    said.length = 0;
    serve({ channel: 'room', ...frame });
    return said.map(([to]) => to);
  };
  come('a', 4);
  take('a', { type: 'subscribe', channel: 'room', presence: true });
  serve({ type: 'subscribed', channel: 'room', position: at(4), recovered: true });
  sent.length = 0;
  // One that is behind, and one that is ahead, so that the stream goes back.
  come('b', 2);
  come('c', 9);
  const rooms = sent.filter(({ channel }) => channel === 'room');
  assert.deepEqual(
    rooms.map(({ position, presence }) => [position, presence]),
    [
      [at(2), true],
      [at(9), true],
      [at(2), true],
    ],
  );
  assert.deepEqual(told({ type: 'presence', users: ['alice'], total: 1 }), ['a']);
  assert.deepEqual(told({ type: 'error', code: 'no-presence', message: 'no' }), ['a']);
  come('d', 2);
  assert.equal(sent.at(-1)!['presence'], undefined);
});
