/** A page of a user: the browser's client, and a record of what its code saw. */
import {
  type ClientEvents,
  type ConnectOptions,
  connect,
  type Position,
  type TransportFactory,
  type WebSocketConstructor,
  webSocketTransport,
} from '../../src/client/full.ts';
import type { Sighting } from '../../src/prove/ledger.ts';
import { WebSocket } from '../../src/ws.ts';
import type { Numbered } from './publisher.ts';

/** What every page has. */
export interface Page {
  readonly user: string;
  /** By stream (`user:<name>` or a topic): what it saw. */
  readonly seen: Map<string, Sighting[]>;
  /** How many times it has connected. */
  readonly connections: number;
  readonly isConnected: boolean;
  /** Milliseconds that it chose to wait before its first try after each loss of the connection. */
  readonly waits: number[];
  /** Why its connections have ended: codes, and reasons where there were some. */
  readonly ends: string[];
  /** What it was told in `error` events. No scenario wants one of a page. */
  readonly errors: string[];
  /** By stream: messages that count for nobody, as another program has written them. */
  readonly foreign: Map<string, number>;
  /** Leaves its topics and joins them again, twice in one turn, as React's StrictMode does with a component. */
  remount?(): void;
  /** Connects again after `close`, as the same page. */
  reopen(): void;
  close(): void;
}

/** The number of the last message that a page saw in a stream. */
export function lastOf(page: Page, stream: string): number {
  const last = page.seen.get(stream)?.findLast((sighting) => sighting.kind === 'message');
  return last?.kind === 'message' ? last.n : 0;
}

/**
 * A guarantee broken on purpose, which the runner must notice: `recovery`: the page does not say where it was;
 * `doorbell`: it has nothing but live messages; `manners`: it says what the server refuses.
 */
export const breakages = ['recovery', 'doorbell', 'manners'] as const;
export type Breakage = (typeof breakages)[number];

export interface PageOptions {
  url: string;
  user: string;
  topics: string[];
  broken?: Breakage;
  client?: ConnectOptions;
  /** The number of the last message of a stream that is promised now. */
  promised(stream: string): number;
  /** The page was told of an error that it did not ask for. */
  failed?(what: string): void;
  /** Where to go on recording. */
  seen?: Page['seen'];
}

const Socket = WebSocket as unknown as WebSocketConstructor;

/** Says something else in place of its `hello`, or more. */
function otherwise(factory: TransportFactory, hello: (frame: object) => object[]): TransportFactory {
  return (url, protocols, events) => {
    const transport = factory(url, protocols, events);
    return {
      close: (code, reason) => transport.close(code, reason),
      send(text) {
        const frame = JSON.parse(text);
        for (const one of frame.type === 'hello' ? hello(frame) : [frame])
          transport.send(JSON.stringify(one));
      },
    };
  };
}

export function openPage({
  url,
  user,
  topics,
  broken,
  client: more = {},
  promised,
  failed,
  seen = new Map(),
}: PageOptions): Page {
  for (const stream of [`user:${user}`, ...topics]) if (!seen.has(stream)) seen.set(stream, []);
  const streamOf = (channel: string): string =>
    channel === 'inbox' || channel === '' ? `user:${user}` : channel;
  let connections = 0;
  const waits: number[] = [];
  const errors: string[] = [];
  const ends: string[] = [];
  const foreign = new Map<string, number>();
  const positions = new Map<string, Position>();
  const transport = more.transport ?? webSocketTransport(more.WebSocket ?? Socket);
  const client = connect<Numbered | string>({
    url,
    user,
    userParameter: 'user',
    topics,
    start: 'beginning',
    device: null,
    reconnect: { min: 100, max: 1000 },
    heartbeat: { interval: 1500, timeout: 1500 },
    connectTimeout: 5000,
    WebSocket: Socket,
    ...(broken === 'doorbell' && { plain: true }),
    ...more,
    ...(broken === 'recovery' && {
      transport: otherwise(transport, (hello) => [{ ...hello, positions: {} }]),
      start: 'now',
    }),
    ...(broken === 'manners' && {
      transport: otherwise(transport, (hello) => [hello, { type: 'nonsense' }]),
    }),
  });
  client.on('message', ({ channel, data, id, position }: ClientEvents<Numbered | string>['message']) => {
    const stream = streamOf(channel);
    if (position !== undefined) positions.set(channel, position);
    const numbered = typeof data === 'string' ? (JSON.parse(data) as Numbered) : data;
    // What has no number is not the publisher's.
    if (typeof numbered?.n === 'number')
      seen.get(stream)?.push({ kind: 'message', n: numbered.n, id: id ?? '' });
    else foreign.set(stream, (foreign.get(stream) ?? 0) + 1);
  });
  client.on('error', ({ code, message, channel }) => errors.push(`${code}: ${message} (${channel ?? ''})`));
  client.on('gap', ({ channel, reason }) => {
    const stream = streamOf(channel);
    seen.get(stream)?.push({ kind: 'gap', reason: reason ?? '', promised: promised(stream) });
  });
  client.on('error', ({ code, message, channel = '' }) => failed?.(`${code} ${channel}: ${message}`));
  client.on('close', ({ code, reason }) => ends.push(`${code} ${reason}`.trimEnd()));
  client.on('open', () => {
    connections++;
  });
  client.on('state', (state) => {
    if (state.name === 'waiting' && state.attempt === 1) waits.push(state.delay);
  });
  return {
    user,
    seen,
    waits,
    errors,
    ends,
    foreign,
    remount() {
      for (const topic of topics) {
        const position = positions.get(topic);
        const join = () =>
          void client.subscribe(topic, position === undefined ? { start: 'beginning' } : { position });
        client.unsubscribe(topic);
        join();
        client.unsubscribe(topic);
        join();
      }
    },
    get connections() {
      return connections;
    },
    get isConnected() {
      return client.state.name === 'connected';
    },
    reopen: () => client.connect(),
    close: () => client.close(),
  };
}
