/** A client with its inbox, as all bells of a page that show the same have it together. */
import type { Message } from '../events.ts';
import type { Client } from '../full.ts';
import type { InboxItem } from '../inbox.ts';
import { connect } from '../index.ts';
import type { ConnectOptions, TicketSource } from '../options.ts';

/** Milliseconds over which mail that comes is told together. */
const GATHER = 60;

/** `loading` until the first answer of the server, `signed-out` once the user may not be here any more. */
export type BellState = 'loading' | 'connected' | 'offline' | 'signed-out';

/** As much of a client as the bell needs. */
export type BellClient = Pick<Client, 'state' | 'inbox' | 'on' | 'connect' | 'close'>;

/** What has come: `item` is left out for what no inbox keeps. */
export interface News {
  readonly data: unknown;
  readonly id: string | undefined;
  item: InboxItem | undefined;
}

export interface SourceUser {
  /** Something that it shows may be another now. */
  changed(): void;
  /** New mail that nobody has seen yet. `isFirst`: of the bells that tell of mail, so that one does. */
  arrived(news: News[], isFirst: boolean): void;
  /** Whether it shows toasts, or notifications of the system. */
  tells(): boolean;
}

export interface Settings {
  url?: string | undefined;
  user?: string | undefined;
  userParameter?: string | undefined;
  fallback?: string | undefined;
  ticketUrl?: string | undefined;
  ticket?: TicketSource;
  client?: BellClient | undefined;
}

export interface Source {
  readonly client: BellClient;
  /** How far the history is loaded. */
  readonly loading: 'not yet' | 'loading' | 'loaded' | 'failed';
  state(): BellState;
  /** What the list has. */
  items(): readonly InboxItem[];
  count(which: 'unseen' | 'unread'): number;
  /** A page more of the history. */
  load(limit: number): void;
  /** The list is being shown. */
  seen(): void;
  leave(user: SourceUser): void;
}

interface Shared extends Source {
  readonly users: Set<SourceUser>;
  readonly settings: Settings;
}

const sources = new Set<Shared>();

/** @throws {TypeError} where `url` is none, or the client has no inbox */
export function useSource(settings: Settings, user: SourceUser): Source {
  const source = [...sources].find((one) => isSame(one.settings, settings)) ?? createSource(settings);
  sources.add(source);
  source.users.add(user);
  return source;
}

function createSource(settings: Settings): Shared {
  const client = settings.client ?? connect(optionsOf(settings));
  const { inbox } = client;
  if (inbox === undefined) throw new TypeError('this client has no inbox: it is that of the core');
  const users = new Set<SourceUser>();
  const news: News[] = [];
  let gathering: ReturnType<typeof setTimeout> | undefined;
  let wasConnected = client.state.name === 'connected';
  let loading: Source['loading'] = 'not yet';
  let mayMarkSeen = true;

  const changed = (): void => {
    // The list has begun anew, as the store has lost messages; or all that was loaded is archived.
    if (loading === 'loaded' && inbox.items.length === 0 && inbox.hasMore) loading = 'not yet';
    for (const user of [...users]) user.changed();
  };
  const tell = (): void => {
    gathering = undefined;
    const items = new Map(inbox.items.map((item) => [item.id, item]));
    const told = news
      .splice(0)
      .map(({ data, id }) => ({ data, id, item: items.get(id ?? '') }))
      // Another device was faster, or it is gone again.
      .filter(({ id, item }) => id === undefined || (item?.state === 'unseen' && !item.archived));
    if (told.length === 0) return;
    const first = [...users].find(({ tells }) => tells());
    for (const user of [...users]) user.arrived(told, user === first);
  };
  const stops = [
    client.on('state', changed),
    client.on('open', () => {
      wasConnected = mayMarkSeen = true;
      if (loading === 'failed') loading = 'not yet';
      changed();
    }),
    client.on('message', ({ channel, data, id }: Message) => {
      if (channel !== 'inbox') return;
      news.push({ data, id, item: undefined });
      gathering ??= setTimeout(tell, GATHER);
    }),
    inbox.on('change', changed),
    inbox.on('counts', changed),
  ];

  const source: Shared = {
    client,
    users,
    settings,
    get loading() {
      return loading;
    },

    state() {
      const { state } = client;
      if (state.name === 'connected' || state.name === 'paused') return 'connected';
      // The codes from 4500 say that coming back is of no use; most of them that it is not for the sake of the user.
      if (state.name === 'closed' && state.code > 4500 && state.code < 5000 && state.code !== 4509)
        return 'signed-out';
      return state.name === 'connecting' && !wasConnected && state.attempt === 0 ? 'loading' : 'offline';
    },

    // Nothing of a user who has signed out is for whoever comes after him.
    items: () => (source.state() === 'signed-out' ? [] : inbox.items.filter(({ archived }) => !archived)),

    count(which) {
      const count = source.state() === 'signed-out' ? 0 : inbox.counts?.[which];
      // A number that can be shown, whatever was sent.
      return typeof count === 'number' && count >= 1
        ? Math.min(Math.floor(count), Number.MAX_SAFE_INTEGER)
        : 0;
    },

    load(limit) {
      if (loading === 'loading') return;
      loading = 'loading';
      const end = (how: 'loaded' | 'failed') => () => {
        loading = how;
        changed();
      };
      inbox.load({ limit }).then(end('loaded'), end('failed'));
      changed();
    },

    seen() {
      // What is refused is asked for again on the next connection, not before.
      if (!mayMarkSeen || source.count('unseen') === 0) return;
      mayMarkSeen = false;
      inbox.markAllSeen().then(() => {
        mayMarkSeen = true;
        changed();
      }, ignore);
    },

    leave(user) {
      users.delete(user);
      if (users.size > 0) return;
      sources.delete(source);
      clearTimeout(gathering);
      for (const stop of stops) stop();
      if (settings.client === undefined) client.close();
    },
  };
  return source;
}

/** What is refused or can't be sent is put back by the inbox, which says so by `change`. */
export function ignore(): void {}

function isSame(a: Settings, b: Settings): boolean {
  return (Object.keys({ ...a, ...b }) as (keyof Settings)[]).every((key) => a[key] === b[key]);
}

function optionsOf({ url, user, userParameter, fallback, ticketUrl, ticket }: Settings): ConnectOptions {
  return {
    ...(url !== undefined && { url }),
    ...(user !== undefined && { user }),
    ...(userParameter !== undefined && { userParameter }),
    ...(fallback !== undefined && { fallback: fallback === 'off' ? false : fallback }),
    ...(ticket !== undefined
      ? { ticket }
      : ticketUrl !== undefined && { ticket: () => fetchTicket(ticketUrl) }),
    share: true,
  };
}

/** Null where nobody is signed in: the application says 401 or 403, or leads to its page for signing in. */
async function fetchTicket(url: string): Promise<string | null> {
  const response = await fetch(url, {
    credentials: 'include',
    cache: 'no-store',
    headers: { Accept: 'text/plain' },
  });
  if (response.status === 401 || response.status === 403) return null;
  if (!response.ok) throw new Error(`no ticket from ${url}: ${response.status}`);
  if (response.headers.get('content-type')?.startsWith('text/html')) return null;
  return (await response.text()).trim() || null;
}
