/** Tabs that share, in one process: locks are made up here, channels and what goes through them are real. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, type TestContext, test } from 'node:test';
import type { ClientTools } from '../../src/client/share/client-tools.ts';
import type { Lock } from '../../src/client/share/locks.ts';
import { createTab } from '../../src/client/share/tab.ts';
import type { Transport, TransportEvents } from '../../src/client/transport.ts';
import { until } from '../support/net.ts';
import { at } from './scripted-server.ts';

const HELLO = JSON.stringify({ type: 'hello', device: 'd', positions: { inbox: at(3) }, topics: [] });

let locks: Map<string, { isOver: boolean; granted(): void; lost(had: boolean): void }[]>;
let open: Transport[];
/** Why the server lets nobody in; undefined: it does. */
let refusal: string | undefined;
const page = globalThis as { addEventListener?: unknown; removeEventListener?: unknown; document?: unknown };

beforeEach(() => {
  locks = new Map();
  open = [];
  refusal = undefined;
  page.addEventListener = page.removeEventListener = () => {};
});
afterEach(() => {
  for (const transport of open) transport.close();
  delete page.addEventListener;
  delete page.removeEventListener;
  delete page.document;
});

/** No tab is seen, so that none asks after a leader that is silent. */
const hide = (): void => {
  page.document = { visibilityState: 'hidden' };
};

/** In order of asking, each grant in a turn of its own. */
const lock: Lock = (name, isSteal, granted, lost) => {
  const queue = locks.get(name) ?? [];
  locks.set(name, queue);
  const place = { isOver: false, granted, lost };
  const grant = () =>
    queueMicrotask(() => {
      if (queue[0] && !queue[0].isOver) queue[0].granted();
    });
  if (isSteal) {
    const robbed = queue.shift();
    queue.unshift(place);
    if (robbed && !robbed.isOver) queueMicrotask(() => robbed.lost(true));
    grant();
  } else if (queue.push(place) === 1) grant();
  return () => {
    place.isOver = true;
    const index = queue.indexOf(place);
    if (index >= 0) queue.splice(index, 1);
    if (index === 0) grant();
  };
};

interface FakeTab {
  frames: string[];
  closes: number[];
  reasons: string[];
  dials: { sent: string[]; events: TransportEvents }[];
  connect(): void;
  transport(): Transport;
  messages(): number[];
  welcomes(): number;
  isIn(): boolean;
}

/** A client that greets whenever it is asked to, and a server that welcomes at once. */
function tab(device: string, user = 'alice', askTicket: ClientTools[0] = async () => undefined): FakeTab {
  const frames: string[] = [];
  const closes: number[] = [];
  const reasons: string[] = [];
  const dials: FakeTab['dials'] = [];
  let last = 3;
  let transport: Transport;
  const serve = (events: TransportEvents, frame: object): void => events.message(JSON.stringify(frame));
  const share = createTab({
    dial(_url, _protocols, events) {
      const sent: string[] = [];
      dials.push({ sent, events });
      queueMicrotask(() => (refusal === undefined ? events.open() : events.close(4503, refusal)));
      return {
        close() {},
        send(text) {
          sent.push(text);
          const { type, positions, position, ref } = JSON.parse(text);
          const state = { position: position ?? positions?.inbox, recovered: true };
          if (type === 'hello')
            serve(events, {
              type: 'welcome',
              session: 's',
              instance: 'i',
              user,
              heartbeat: {},
              channels: { inbox: state },
            });
          else if (type === 'subscribe')
            serve(events, { type: 'subscribed', channel: 'inbox', ...state, ref });
        },
      };
    },
    lock,
    tools: [askTicket, () => {}, () => connect(), 0, () => {}, () => device] as ClientTools,
    ticketParameter: undefined,
  });
  const connect = (): void => {
    transport?.close();
    transport = share('ws://x/socketServer', ['tidings.1'], {
      open: () =>
        transport.send(HELLO.replace('"offset":3,"id":"e1-3"', `"offset":${last},"id":"e1-${last}"`)),
      message(data) {
        frames.push(String(data));
        const { type, offset } = JSON.parse(String(data));
        if (type === 'message') last = offset;
      },
      close(code, reason) {
        closes.push(code);
        reasons.push(reason);
      },
    });
    open.push(transport);
  };
  const welcomes = (): number => frames.filter((text) => text.includes('"welcome"')).length;
  connect();
  return {
    frames,
    closes,
    reasons,
    dials,
    connect,
    transport: () => transport,
    messages: () =>
      frames
        .map((text) => JSON.parse(text))
        .filter(({ type }) => type === 'message')
        .map(({ offset }) => offset),
    welcomes,
    isIn: () => welcomes() > 0,
  };
}

const message = (offset: number): string =>
  JSON.stringify({ type: 'message', channel: 'inbox', ...at(offset), time: 1, data: offset });
const groupOf = (scope: string): string => `tidings:1:${scope}:alice:ws://x/socketServer`;

async function two(scope: string): Promise<[leader: FakeTab, follower: FakeTab]> {
  const a = tab(scope);
  await until('the first', a.isIn);
  const b = tab(scope);
  await until('the second to follow', () => b.welcomes() === 2);
  return [a, b];
}

test('the second tab gives its own connection up, and gets what the first one has', async () => {
  const [a, b] = await two('follow');
  a.dials[0]!.events.message(message(4));
  await until('it', () => b.messages().length === 1);
  assert.deepEqual([a.messages(), b.messages()], [[4], [4]]);
  assert.equal(b.dials.length, 1);
});

test('what is said under an older term counts for nothing, nor does what is no word of ours', async () => {
  const [a, b] = await two('terms');
  const stranger = new BroadcastChannel(groupOf('terms'));
  const forged = ['', message(4), 'inbox', 3, at(4)];
  for (const words of [
    [1, 'old', [forged]],
    null,
    5,
    'x',
    {},
    [],
    [Date.now() * 2],
    [1, 'x', 'y', 'z'],
    [0, 'tab', '{'],
    [0, 'tab', 'null'],
    [0, 'tab', '{"type":"hello","topics":7}'],
    [0, 'tab', ''],
  ])
    stranger.postMessage(words);
  a.dials[0]!.events.message(message(4));
  a.dials[0]!.events.message(message(5));
  await until('both', () => b.messages().length === 2);
  stranger.close();
  assert.deepEqual(
    [a.messages(), b.messages()],
    [
      [4, 5],
      [4, 5],
    ],
  );
});

test('a tab that is closed hands over; the next goes on from where it was', async () => {
  const [a, b] = await two('close');
  a.dials[0]!.events.message(message(4));
  await until('it', () => b.messages().length === 1);
  a.transport().close();
  await until('a connection of its own', () => b.dials.length === 2);
  assert.deepEqual(JSON.parse(b.dials[1]!.sent[0]!).positions, { inbox: at(4) });
});

test('a leader whose ticket is refused is told, and takes nobody along', async () => {
  const [a, b] = await two('refused');
  a.dials[0]!.events.close(4501, 'over');
  await until('another leader', () => b.dials.length === 2);
  assert.deepEqual([a.closes, b.closes], [[4501], []]);
});

/** Tickets that come when the test says so. The first one, for the tab by itself, comes at once. */
function tickets() {
  const asked: ((ticket: string) => void)[] = [];
  let isFirst = true;
  return {
    asked,
    ask(): Promise<string> {
      const ticket = isFirst
        ? Promise.resolve('first')
        : new Promise<string>((resolve) => asked.push(resolve));
      isFirst = false;
      return ticket;
    },
  };
}

/** Their tickets hang, once they have joined `leader`. */
async function follow(scope: string, count: number) {
  const followers = [];
  for (let n = 0; n < count; n++) {
    const { asked, ask } = tickets();
    const each = tab(scope, 'alice', ask);
    await until('it to follow', () => each.welcomes() === 2);
    followers.push({ ...each, asked });
  }
  return followers;
}

test('a new leader whose ticket does not come lets go while others wait, and follows', async () => {
  const a = tab('hangs');
  await until('the first', a.isIn);
  const [b, c] = await follow('hangs', 2);
  const d = tab('hangs');
  await until('the last', () => d.frames.length > 1);
  a.transport().close();
  // Two of them hang; each holds the others up for about a second.
  await until('a leader', () => d.dials.length === 2);
  await until('all to follow', () => [b, c].every((each) => each!.welcomes() > 2));
  d.dials[1]!.events.message(message(4));
  await until('it', () => [b, c, d].every((each) => each!.messages().length === 1));
  assert.deepEqual([b!.asked.length, c!.asked.length], [1, 1]);
  // A ticket that comes when nobody needs it any more changes nothing.
  b!.asked[0]!('late');
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([b!.dials.length, c!.dials.length, d.dials.length], [1, 1, 2]);
});

test('where the tickets of all tabs are late, whose comes first leads, and nobody is asked twice', async () => {
  const a = tab('slow');
  await until('the first', a.isIn);
  const [b, c] = await follow('slow', 2);
  a.transport().close();
  await until('both to be asked', () => b!.asked.length + c!.asked.length === 2);
  await until('the first one to lead again', () => (locks.get(groupOf('slow'))?.length ?? 0) === 2);
  b!.asked[0]!('late');
  await until('its connection', () => b!.dials.length === 2);
  await until('the other to follow', () => c!.welcomes() > 2);
  assert.deepEqual([b!.asked.length, c!.asked.length, c!.dials.length], [1, 1, 1]);
});

/** Nobody grows impatient: where something goes on, it is because of an answer. */
function patient(t: TestContext): void {
  hide();
  const { setTimeout } = globalThis;
  t.mock.method(globalThis, 'setTimeout', (call: () => void, ms: number) =>
    ms < 500 ? setTimeout(call, ms) : undefined,
  );
}

test('whose session has ended is known to all before one of them asks the server again', async (t) => {
  patient(t);
  const [a, b] = await two('why');
  const c = tab('why');
  await until('the third to follow', () => c.welcomes() === 2);
  refusal = 'not now';
  a.dials[0]!.events.close(4503, 'the account is closed');
  await until('all to know', () => [b, c].every(({ closes }) => closes.length === 1));
  assert.deepEqual(
    [a, b, c].map(({ reasons }) => reasons),
    [['the account is closed'], ['the account is closed'], ['the account is closed']],
  );
  // What is so now is told to who tries again.
  b.connect();
  await until('it', () => b.reasons.length === 2);
  assert.equal(b.reasons[1], 'not now');
});

test('whose frame no server takes is told so before another one leads', async (t) => {
  patient(t);
  const [a, b] = await two('too-big');
  const c = tab('too-big');
  await until('the third to follow', () => c.welcomes() === 2);
  b.transport().send(JSON.stringify({ type: 'publish', channel: 'news', data: 1, ref: 'r' }));
  const { sent, events } = a.dials[0]!;
  await until('the frame', () => sent.some((text) => text.includes('"publish"')));
  events.close(1009, '');
  await until('another leader', () => c.dials.length + a.dials.length === 3);
  assert.deepEqual([a.closes, b.closes, c.closes], [[], [1009], []]);
});

/** A tab that says nothing more, once the leader has taken it in. */
async function silent(scope: string, leader: FakeTab): Promise<void> {
  const channel = new BroadcastChannel(groupOf(scope));
  const isIn = new Promise<void>((resolve) => {
    channel.onmessage = ({ data: [, , says] }) => {
      if (Array.isArray(says) && says.some(([to]) => to === 'silent')) resolve();
    };
  });
  // It is there.
  lock(
    `${groupOf(scope)}:silent`,
    false,
    () => {},
    () => {},
  );
  channel.postMessage([0, 'silent', HELLO]);
  leader.dials[0]!.events.message(message(4));
  await isIn;
  channel.close();
}

test('a tab that does not answer holds the others up for a while only', async () => {
  hide();
  const [a, b] = await two('silent');
  await silent('silent', a);
  a.dials[0]!.events.close(4501, 'over');
  await until('another leader', () => b.dials.length === 2);
  assert.deepEqual([a.closes, b.closes], [[4501], []]);
});

test('a lock that is stolen while it is handed over is no loss to the tab, which queues for it already', async () => {
  const [a, b] = await two('stolen');
  await silent('stolen', a);
  a.dials[0]!.events.close(4501, 'over');
  a.connect();
  const queue = locks.get(groupOf('stolen'))!;
  assert.equal(queue.length, 3);
  const free = lock(
    groupOf('stolen'),
    true,
    () => {},
    () => {},
  );
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(queue.length, 3);
  free();
  await until('another leader', () => b.dials.length === 2);
  b.transport().close();
  await until('the first again', () => a.dials.length === 2);
});

test('a connection that is lost is told to all', async (t) => {
  patient(t);
  const [a, b] = await two('lost');
  a.dials[0]!.events.close(1006, '');
  await until('both to know', () => b.closes.length === 1);
  assert.deepEqual([a.closes, b.closes], [[1006], [1006]]);
});

test('tabs of another user, and with another device, have nothing to do with each other', async () => {
  const tabs = [tab('one'), tab('two'), tab('one', 'bob')];
  for (const each of tabs) await until('welcome', each.isIn);
  tabs[0]!.dials[0]!.events.message(message(4));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    tabs.map((each) => [each.messages(), each.dials.length]),
    [
      [[4], 1],
      [[], 1],
      [[], 1],
    ],
  );
});
