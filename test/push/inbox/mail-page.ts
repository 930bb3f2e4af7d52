/** Pages that keep an inbox, as a client has to: by either door, from nothing but the frames that they were sent. */
import { type Counts, countsOf } from '../../../src/pubsub/store/marks.ts';
import type {
  Hello,
  ServerFrame,
  StateSnapshot,
  WireMessage,
  WirePosition,
} from '../../../src/push/talk/wire.ts';
import { atEnd } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import type { Page } from '../support.ts';

type Frames = { readonly received: unknown[] };

/** What a page knows of a channel: the last state, and what has come since. */
export interface Known {
  state: StateSnapshot;
  first: number;
  last: number;
}

/** @throws where the frames break the order that docs/wire.md promises */
export function knownTo({ received }: Frames, channel = 'inbox'): Known | undefined {
  let known: Known | undefined;
  const take = (state: StateSnapshot): void => {
    known = { state, first: state.first, last: Math.max(state.last, 0) };
  };
  for (const frame of received as ServerFrame[]) {
    if (frame.type === 'welcome') {
      const state = frame.channels[channel]?.state;
      if (state !== undefined) take(state);
    } else if (frame.type === 'subscribed' && frame.channel === channel && frame.state !== undefined) {
      take(frame.state);
    } else if (frame.type === 'state' && frame.channel === channel) take(frame);
    else if (frame.type === 'message' && frame.channel === channel && known !== undefined) {
      if (frame.offset <= known.last) continue;
      known.last = frame.offset;
      known.first = Math.max(known.first, frame.offset - known.state.most + 1);
    }
  }
  return known;
}

/** The counts as the page works them out. */
export function countsOn(page: Frames): Counts | undefined {
  const known = knownTo(page);
  if (known === undefined) return undefined;
  const { version, seen = [], read = [], archived = [], gone } = known.state;
  return countsOf({ version, seen, read, archived, gone }, known.first, known.last);
}

export const showsCounts = (page: Frames, counts: Counts): Promise<unknown> =>
  until(`counts ${JSON.stringify(counts)}`, () => JSON.stringify(countsOn(page)) === JSON.stringify(counts));

/** What the page shows: the data of what it was sent and is not gone. */
export function shown(page: Frames, channel = 'inbox'): unknown[] {
  const gone = knownTo(page, channel)?.state.gone ?? [];
  const isGone = (offset: number): boolean => gone.some(([first, last]) => first <= offset && offset <= last);
  return (page.received as ServerFrame[])
    .filter((frame): frame is WireMessage => frame.type === 'message' && frame.channel === channel)
    .filter((frame) => frame.gone === undefined && !isGone(frame.offset))
    .map((frame) => frame.data);
}

export const positionOf = ({ epoch, offset, id }: WirePosition): WirePosition => ({ epoch, offset, id });

/** A page over SockJS, polling, in `tidings.1`. */
export class PollingPage {
  readonly received: ServerFrame[] = [];
  readonly #session: string;
  readonly #query: string;
  readonly #end = new AbortController();

  private constructor(url: string, user: string) {
    const { port } = new URL(url);
    const id = Math.random().toString(36).slice(2);
    this.#session = `http://127.0.0.1:${port}/sockjs/000/${id}`;
    this.#query = `?user=${encodeURIComponent(user)}&protocol=tidings.1`;
  }

  static async open(url: string, user: string, hello: Omit<Hello, 'type'> = {}): Promise<PollingPage> {
    const page = new PollingPage(url, user);
    atEnd(() => page.close());
    await page.#post('xhr');
    await page.say({ type: 'hello', ...hello });
    void page.#poll();
    await until('welcome', () => page.received.some(({ type }) => type === 'welcome'));
    return page;
  }

  async say(frame: unknown): Promise<void> {
    await this.#post('xhr_send', JSON.stringify([JSON.stringify(frame)]));
  }

  close(): void {
    this.#end.abort();
  }

  async #poll(): Promise<void> {
    while (!this.#end.signal.aborted) {
      const text = await this.#post('xhr').catch(() => 'c[]');
      if (text.startsWith('c')) return;
      if (!text.startsWith('a')) continue;
      for (const frame of JSON.parse(text.slice(1)) as string[]) this.received.push(JSON.parse(frame));
    }
  }

  async #post(path: string, body = ''): Promise<string> {
    const { signal } = this.#end;
    const response = await fetch(`${this.#session}/${path}${this.#query}`, { method: 'POST', body, signal });
    return (await response.text()).trim();
  }
}

/** Says a frame with a `ref`, and waits for its answer. */
export async function ask(page: Page, frame: { type: string; ref: string } & Record<string, unknown>) {
  page.say(frame);
  return (await until(`an answer to ${frame.ref}`, () =>
    (page.received as { ref?: string; type: string }[]).find(({ ref }) => ref === frame.ref),
  )) as { type: string } & Record<string, never>;
}
