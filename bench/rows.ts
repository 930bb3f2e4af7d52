/** Every row of the table: what is measured, with which peers. */
import type { Job } from './load/job.ts';
import type { Answers } from './roster.ts';

export interface Row {
  /** Its name in JSON, targets and `--rows`. */
  id: string;
  title: string;
  scenario:
    | 'echo'
    | 'broadcast'
    | 'handshakes'
    | 'idle'
    | 'fanout'
    | 'push-user'
    | 'push-topic'
    | 'push-rest'
    | 'push-return'
    | 'push-visit'
    | 'resp-publish'
    | 'resp-receive'
    | 'codec';
  /** Of the codec. */
  operation?: 'read' | 'write' | 'unmask' | 'utf8';
  conns: number;
  depth: number;
  /** Payload bytes. */
  size: number;
  kind: Job['kind'];
  deflate: boolean;
  /** What `cost` counts: CPU per message, frame or page, or resident KiB (1,024 bytes) or kB (1,000) per connection. */
  unit: 'µs' | 'ns' | 'KiB' | 'kB';
  /** Messages a second, where they come at a given rate. */
  rate?: number;
  /** Processes of the server; more where the connections don't fit into one. Default 1. */
  workers?: number;
  /** How the server answers an echo. Default: at once, with what came in. */
  answers?: Answers;
  /** The peer whose cost is divided by everyone's. It runs twice, for the noise. */
  reference: string;
  peers: string[];
  /** The table it belongs to, where that isn't the main one: see `tables`. */
  table?: 'events' | 'sends' | 'scale' | 'push';
}

const ECHO_PEERS = [
  'ws',
  'ws-js',
  'tidings',
  'tidings-embedded',
  'tidings-events',
  'faye',
  'net',
  'bun',
  'deno',
];
const BROADCAST_PEERS = [
  'ws',
  'tidings',
  'tidings-embedded',
  'socket.io',
  'sockjs',
  'faye',
  'net',
  'bun',
  'deno',
];
const EVENT_PEERS = ['ws', 'tidings-events'];
const DEFLATE_PEERS = ['ws', 'tidings', 'tidings-embedded', 'bun'];

export function bytes(size: number): string {
  if (size >= 1024 * 1024) return `${size / (1024 * 1024)} MiB`;
  return size >= 1024 ? `${size / 1024} KiB` : `${size} B`;
}

interface EchoShape {
  size: number;
  kind?: Row['kind'];
  conns?: number;
  depth?: number;
  peers?: string[];
  deflate?: boolean;
}

export function echoRow({
  size,
  kind = 'text',
  conns = 64,
  depth = 1,
  peers = ECHO_PEERS,
  deflate = false,
}: EchoShape): Row {
  return {
    id: `echo-${size}-${kind}-${conns}x${depth}${deflate ? '-deflate' : ''}`,
    title: `echo ${bytes(size)} ${kind}${deflate ? ' compressed' : ''}, ${count(conns, 'connection')}, ${depth} outstanding`,
    scenario: 'echo',
    conns,
    depth,
    size,
    kind,
    deflate,
    unit: 'µs',
    reference: 'ws',
    peers: deflate ? DEFLATE_PEERS : peers,
  };
}

function eventRow(shape: EchoShape): Row {
  const row = echoRow({ peers: EVENT_PEERS, ...shape });
  return { ...row, id: row.id.replace('echo', 'events'), title: `events: ${row.title}`, table: 'events' };
}

const ANSWERS: Record<Answers, string> = {
  now: '',
  later: ', answered in another turn of the event loop',
  callback: ', each send with a callback',
  stored: ', the answer to a small request',
};

function sendRow(answers: Answers, shape: EchoShape): Row {
  const row = { ...echoRow(shape), peers: EVENT_PEERS, answers };
  return {
    ...row,
    id: `${row.id.replace('echo', 'sends')}${answers === 'now' ? '' : `-${answers}`}`,
    title: `sends: ${row.title}${ANSWERS[answers]}`,
    table: 'sends',
  };
}

export function broadcastRow(conns: number, depth: number, shape: Partial<EchoShape> = {}): Row {
  const {
    size = 128,
    kind = 'text',
    deflate = false,
    peers = deflate ? DEFLATE_PEERS : BROADCAST_PEERS,
  } = shape;
  return {
    id: `broadcast-${size}-${kind}-${conns}x${depth}${deflate ? '-deflate' : ''}`,
    title: `broadcast ${bytes(size)} ${kind}${deflate ? ' compressed' : ''} to ${conns.toLocaleString('en')}, ${depth} in flight`,
    scenario: 'broadcast',
    conns,
    depth,
    size,
    kind,
    deflate,
    unit: 'µs',
    reference: 'ws',
    peers,
  };
}

export function handshakesRow(
  depth: number,
  peers = ECHO_PEERS.filter((name) => name !== 'ws-js' && name !== 'net' && name !== 'tidings-events'),
): Row {
  return {
    id: `handshakes-${depth}`,
    title: `handshakes, open and close, ${depth} at a time`,
    scenario: 'handshakes',
    conns: depth,
    depth,
    size: 16,
    kind: 'text',
    deflate: false,
    unit: 'µs',
    reference: 'ws',
    peers,
  };
}

export function idleRow(conns: number, deflate: boolean, peers?: string[]): Row {
  return {
    id: `idle-${conns}${deflate ? '-deflate' : ''}`,
    title: `memory of ${conns.toLocaleString('en')} idle connections${deflate ? ', permessage-deflate, after one message each' : ''}`,
    scenario: 'idle',
    conns,
    depth: 1,
    size: 2048,
    kind: 'json',
    deflate,
    unit: 'KiB',
    reference: 'ws',
    peers:
      peers ??
      (deflate
        ? DEFLATE_PEERS
        : ECHO_PEERS.filter((name) => name !== 'ws-js' && name !== 'tidings-events').concat(
            'socket.io',
            'sockjs',
          )),
  };
}

function fanOutRow(conns: number, depth: number): Row {
  return {
    ...broadcastRow(conns, depth),
    id: `fanout-${conns}x${depth}`,
    title: `Redis to ${conns.toLocaleString('en')} pages on two instances, 128 B, ${depth} in flight`,
    scenario: 'fanout',
    reference: 'ws+ioredis',
    peers: ['ws+ioredis', 'push'],
  };
}

const PUSH_PEERS = ['ws+ioredis', 'push-plain', 'push-tidings.1', 'socket.io+redis', 'socket.io+streams'];

function pushRow(
  scenario: 'user' | 'topic' | 'rest' | 'return' | 'visit',
  title: string,
  conns: number,
  more: Partial<Row> = {},
): Row {
  return {
    id: `push-${scenario}-${conns}`,
    title,
    scenario: `push-${scenario}`,
    conns,
    depth: 1,
    size: 128,
    kind: 'json',
    deflate: false,
    unit: 'µs',
    reference: 'ws+ioredis',
    peers: PUSH_PEERS,
    table: 'push',
    ...more,
  };
}

/** Who acknowledges does so for each message, as long as one user's are further apart than the client waits. */
const pushUserRow = (users: number, rate: number): Row => {
  const title = `push: a message of 128 B to one user of ${users.toLocaleString('en')}, ${rate.toLocaleString('en')} a second`;
  return pushRow('user', title, users, { rate, peers: [...PUSH_PEERS, 'push-tidings.1-quiet'] });
};

/** What state and lifetimes add to that. */
const pushLifeRow = (users: number, rate: number): Row => ({
  ...pushUserRow(users, rate),
  id: `push-life-${users}`,
  title: `push: the same, to inboxes with marks, with lifetimes and with keys`,
  reference: 'push-tidings.1-quiet',
  peers: ['push-tidings.1-quiet', 'push-marks', 'push-ttl', 'push-keys', 'push-replaces'],
});

/** In plain mode pages have no topics. */
const pushTopicRow = (pages: number, rate: number): Row =>
  pushRow(
    'topic',
    `push: a message of 128 B to a topic of ${pages.toLocaleString('en')} pages, ${rate} a second`,
    pages,
    {
      rate,
      peers: PUSH_PEERS.filter((name) => name !== 'push-plain'),
    },
  );

const pushRestRow = (pages: number): Row =>
  pushRow('rest', `push: ${pages.toLocaleString('en')} idle pages of as many users`, pages, {
    unit: 'kB',
    peers: [...PUSH_PEERS, 'push-plain-memory', 'push-tidings.1-memory', 'ws-pages'],
  });

const pushReturnRow = (pages: number): Row =>
  pushRow(
    'return',
    `push: ${pages.toLocaleString('en')} pages come back at once, a message missed by each`,
    pages,
  );

const pushVisitRow = (pages: number): Row =>
  pushRow('visit', `push: pages that open and leave, each of another user, ${pages} at a time`, pages, {
    peers: [...PUSH_PEERS, 'push-plain-memory', 'push-tidings.1-memory'],
  });

/** @param peers clients of resp/clients.ts */
function respRow(
  scenario: 'resp-publish' | 'resp-receive',
  depth: number,
  reference: string,
  peers: string[],
): Row {
  return {
    id: `${scenario}-${depth}`,
    title:
      scenario === 'resp-publish'
        ? `Redis PUBLISH 128 B, ${depth} outstanding`
        : 'Redis messages of 128 B received on a subscription',
    scenario,
    conns: 1,
    depth,
    size: 128,
    kind: 'text',
    deflate: false,
    unit: 'µs',
    reference,
    peers: [reference, ...peers],
  };
}

function codecRow(operation: NonNullable<Row['operation']>, size: number, kind: Row['kind'] = 'text'): Row {
  const peers = ['ws', 'tidings'];
  if (operation !== 'write') peers.push('tidings-simd');
  if (operation === 'unmask') peers.push('bytes');
  return {
    id: `codec-${operation}-${size}${operation === 'utf8' || operation === 'read' ? `-${kind}` : ''}`,
    title: `codec: ${operation} ${bytes(size)} ${kind}`,
    scenario: 'codec',
    operation,
    conns: 0,
    depth: 0,
    size,
    kind,
    deflate: false,
    unit: 'ns',
    reference: 'ws',
    peers,
  };
}

function count(n: number, what: string): string {
  return `${n.toLocaleString('en')} ${what}${n === 1 ? '' : 's'}`;
}

const KIB = 1024;
const MIB = 1024 * 1024;

export const rows: Row[] = [
  echoRow({ size: 16 }),
  echoRow({ size: 16, depth: 16 }),
  echoRow({ size: 125, conns: 1 }),
  echoRow({ size: 125, conns: 1, depth: 16 }),
  echoRow({ size: 125 }),
  echoRow({ size: 125, depth: 16 }),
  echoRow({ size: 125, kind: 'binary', depth: 16 }),
  echoRow({ size: 125, kind: 'utf8', depth: 16 }),
  echoRow({ size: KIB }),
  echoRow({ size: KIB, depth: 16 }),
  echoRow({ size: KIB, kind: 'json', depth: 16, deflate: true }),
  echoRow({ size: 64 * KIB }),
  echoRow({ size: 64 * KIB, kind: 'binary' }),
  echoRow({ size: MIB, kind: 'binary', conns: 1 }),
  echoRow({ size: MIB, kind: 'binary' }),
  // Throughput of large messages.
  echoRow({ size: 16 * MIB, kind: 'binary', conns: 4 }),
  broadcastRow(1000, 1),
  broadcastRow(1000, 4),
  broadcastRow(1000, 16),
  broadcastRow(10_000, 1),
  broadcastRow(10_000, 4),
  broadcastRow(10_000, 16),
  broadcastRow(1000, 1, { size: KIB, kind: 'json', peers: ['ws', 'tidings', 'tidings-embedded', 'bun'] }),
  broadcastRow(1000, 1, { size: KIB, kind: 'json', deflate: true }),
  broadcastRow(1000, 16, { size: KIB, kind: 'json', deflate: true }),
  handshakesRow(64),
  idleRow(10_000, false),
  idleRow(10_000, true),
  fanOutRow(1000, 1),
  fanOutRow(1000, 16),
  respRow('resp-publish', 1000, 'ioredis', [
    'ioredis-auto',
    'ioredis-pipeline',
    'node-redis',
    'tidings',
    'tidings-handler',
    'redis-parser',
    'redis-benchmark',
  ]),
  respRow('resp-publish', 1, 'ioredis', ['node-redis', 'tidings', 'redis-parser']),
  respRow('resp-receive', 1000, 'ioredis', ['node-redis', 'tidings', 'tidings-bytes', 'redis-parser']),
  codecRow('read', 20),
  codecRow('read', 125),
  codecRow('read', 125, 'utf8'),
  codecRow('read', KIB),
  codecRow('read', 32 * KIB),
  codecRow('write', 20),
  codecRow('write', 125),
  codecRow('write', KIB),
  codecRow('unmask', 64),
  codecRow('unmask', KIB),
  codecRow('unmask', 16 * KIB),
  codecRow('utf8', 125),
  codecRow('utf8', KIB),
  codecRow('utf8', 32 * KIB),
  codecRow('utf8', KIB, 'utf8'),
];

/** What somebody gets who changes one import: `message` events, with Buffers that may be kept. */
export const eventRows: Row[] = [
  eventRow({ size: 125 }),
  eventRow({ size: 125, depth: 16 }),
  eventRow({ size: 64 * KIB }),
  eventRow({ size: MIB, kind: 'binary', conns: 1, peers: [...EVENT_PEERS, 'tidings'] }),
  eventRow({ size: MIB, kind: 'binary', peers: [...EVENT_PEERS, 'tidings'] }),
];

/** What an application does beside an echo: the way of what is sent. */
export const sendRows: Row[] = [
  sendRow('later', { size: 125, depth: 16 }),
  sendRow('callback', { size: 125, depth: 16 }),
  sendRow('stored', { size: 64 * KIB, kind: 'binary' }),
  sendRow('stored', { size: MIB, kind: 'binary', conns: 8 }),
  sendRow('now', { size: KIB, kind: 'json', depth: 16, deflate: true }),
];

/** Cost over connections: it should not rise with them. */
export const scaleRows: Row[] = [1000, 10_000, 50_000].flatMap((conns) =>
  [1, 16, 64].map((depth) => ({
    ...echoRow({ size: 125, conns, depth, peers: ['ws', 'tidings', 'net'] }),
    table: 'scale' as const,
  })),
);
for (const depth of [1, 16]) {
  const row = echoRow({ size: 125, conns: 1000, depth, peers: ['ws', 'tidings', 'net'] });
  scaleRows.push({
    ...row,
    id: `${row.id}-2workers`,
    title: `${row.title}, 2 workers`,
    workers: 2,
    table: 'scale',
  });
}

/** What a message, a page and its coming and going cost a push server, and Redis behind it. */
export const pushRows: Row[] = [
  pushUserRow(1000, 5000),
  pushLifeRow(1000, 5000),
  pushTopicRow(1000, 50),
  pushTopicRow(10_000, 5),
  pushRestRow(10_000),
  pushReturnRow(10_000),
  pushVisitRow(32),
];

/** All that `npm run bench` runs, in the order of the report. */
export const allRows: Row[] = [...eventRows, ...rows, ...sendRows, ...scaleRows, ...pushRows];

/** One row of each scenario, small: every peer and every path runs, nothing is to be read from the figures. */
export const shortRows: Row[] = [
  echoRow({ size: 125, conns: 16, depth: 4 }),
  echoRow({ size: MIB, kind: 'binary', conns: 1, peers: ['ws', 'tidings', 'net'] }),
  echoRow({ size: KIB, kind: 'json', conns: 8, depth: 2, deflate: true }),
  eventRow({ size: 125, conns: 16, depth: 4 }),
  eventRow({ size: MIB, kind: 'binary', conns: 1 }),
  sendRow('later', { size: 125, conns: 8, depth: 16 }),
  sendRow('callback', { size: 125, conns: 8, depth: 16 }),
  sendRow('stored', { size: 64 * KIB, kind: 'binary', conns: 4 }),
  sendRow('now', { size: KIB, kind: 'json', conns: 4, depth: 4, deflate: true }),
  broadcastRow(100, 4),
  broadcastRow(100, 2, { size: KIB, kind: 'json', deflate: true }),
  handshakesRow(8),
  idleRow(200, false, ['ws', 'tidings', 'net']),
  idleRow(200, true, ['ws', 'tidings']),
  fanOutRow(100, 4),
  pushUserRow(50, 500),
  pushLifeRow(50, 500),
  pushTopicRow(50, 50),
  pushRestRow(100),
  pushReturnRow(100),
  pushVisitRow(8),
  respRow('resp-publish', 100, 'ioredis', [
    'ioredis-auto',
    'ioredis-pipeline',
    'node-redis',
    'tidings',
    'tidings-handler',
    'redis-parser',
    'redis-benchmark',
  ]),
  respRow('resp-receive', 100, 'ioredis', ['node-redis', 'tidings', 'tidings-bytes', 'redis-parser']),
  codecRow('read', 125),
  codecRow('write', 125),
  codecRow('unmask', KIB),
  codecRow('utf8', KIB),
];
