/** Pages of users who are sent away, and a sender that goes on writing to them: what comes after the promise is counted. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import {
  type ClientEvents,
  type ConnectOptions,
  connect,
  type WebSocketConstructor,
} from '../../src/client/full.ts';
import { WebSocket } from '../../src/ws.ts';
import type { Instance } from './instances.ts';
import type { Stage } from './stage.ts';

interface Sighting {
  n: number;
  at: number;
}

/** One page, whatever it is made of. */
export interface VictimPage {
  readonly seen: Sighting[];
  /** Codes with which its connections ended. */
  readonly ends: number[];
  close(): void;
}

/** A user whose sessions are to end, or who is to be kept out. */
export class Victim {
  readonly user: string;
  readonly verb: 'disconnect' | 'block';
  readonly pages: VictimPage[] = [];
  /** When message n was sent, by its number. */
  readonly #sentAt: number[] = [0];
  #isSending = true;
  #sending: Promise<void> | undefined;
  /** When the promise was kept. */
  promised = Number.POSITIVE_INFINITY;

  constructor(user: string, verb: Victim['verb']) {
    this.user = user;
    this.verb = verb;
  }

  /** One message after the other, through an instance that is well, until `stop`. */
  send(instance: Instance): void {
    this.#sending = (async () => {
      while (this.#isSending) {
        const n = this.#sentAt.push(performance.now()) - 1;
        await instance
          .ask(`/send/${encodeURIComponent(`user:${this.user}`)}`, {
            method: 'POST',
            body: JSON.stringify({ data: { n }, key: `${this.user} ${n}` }),
          })
          .catch(() => {});
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
  }

  async stop(): Promise<void> {
    this.#isSending = false;
    await this.#sending;
    for (const page of this.pages) page.close();
  }

  get sent(): number {
    return this.#sentAt.length - 1;
  }

  /** @param grace milliseconds that what left before may take to get here */
  late(grace: number): { sentAfter: number; cameAfter: number } {
    const all = this.pages.flatMap(({ seen }) => seen);
    return {
      sentAfter: all.filter(({ n }) => this.#sentAt[n]! > this.promised).length,
      cameAfter: all.filter(({ at }) => at > this.promised + grace).length,
    };
  }
}

/** A connection that never comes back by itself. */
export function rawPage(port: number, user: string, protocols: string[]): VictimPage {
  const seen: Sighting[] = [];
  const ends: number[] = [];
  const socket = new WebSocket(`ws://127.0.0.1:${port}/socketServer?user=${user}`, protocols);
  socket.on('error', () => {});
  socket.on('open', () => {
    if (protocols.length > 0) socket.send(JSON.stringify({ type: 'hello', start: 'retained' }));
  });
  socket.on('message', (text) => {
    const frame = JSON.parse(String(text)) as { type?: string; n?: number; data?: { n: number } };
    const n = frame.type === 'message' ? frame.data?.n : frame.n;
    if (n !== undefined) seen.push({ n, at: performance.now() });
  });
  socket.on('close', (code) => ends.push(code));
  return { seen, ends, close: () => socket.terminate() };
}

/**
 * A page of ours, which comes back as long as it is not told to stay away.
 *
 * @param comesBack false: not once it has seen something. Whom `disconnect` has ended may come again, and what he gets
 *   then was promised to him.
 */
export function clientPage(
  url: string,
  user: string,
  { comesBack = true, ...options }: ConnectOptions & { comesBack?: boolean } = {},
): VictimPage {
  const seen: Sighting[] = [];
  const ends: number[] = [];
  const client = connect<{ n: number }>({
    url,
    user,
    userParameter: 'user',
    start: 'beginning',
    device: null,
    reconnect: { min: 50, max: 300 },
    connectTimeout: 5000,
    WebSocket: WebSocket as unknown as WebSocketConstructor,
    ...options,
  });
  client.on('message', ({ data }: ClientEvents<{ n: number }>['message']) => {
    seen.push({ n: data.n, at: performance.now() });
  });
  client.on('close', ({ code }) => {
    if (comesBack || seen.length > 0) ends.push(code);
    if (!comesBack && seen.length > 0) client.close();
  });
  return { seen, ends, close: () => client.close() };
}

/** How late this process may notice what has come to it. */
export class Grace {
  readonly #held = monitorEventLoopDelay({ resolution: 10 });

  constructor() {
    this.#held.enable();
  }

  get milliseconds(): number {
    return 150 + (2 * this.#held.max) / 1e6;
  }
}

/** Says it through the instance, and waits for the promise. */
export async function sayTo(instance: Instance, victim: Victim): Promise<void> {
  await instance.ask(`/${victim.verb}/${victim.user}`, {
    method: 'POST',
    signal: AbortSignal.timeout(60_000),
  });
  victim.promised = performance.now();
}

/** Counts what came late, and fails the scenario with it. */
export function judge(stage: Stage, victims: Victim[], grace: Grace, { wasStopped = false } = {}): void {
  // Writes that were under way when a process was stopped end when it goes on, before any code of it can run: what they
  // carry was sent before the promise. It is counted, and nothing that was sent later may be among it.
  let seen = 0;
  let late = 0;
  for (const victim of victims) {
    const { sentAfter, cameAfter } = victim.late(grace.milliseconds);
    const what = `${victim.verb} of ${victim.user}`;
    stage.check(
      sentAfter === 0,
      `${what}: ${sentAfter} messages were delivered that were sent after the promise`,
    );
    stage.check(wasStopped || cameAfter === 0, `${what}: ${cameAfter} messages came after the promise`);
    late += cameAfter;
    seen += victim.pages.reduce((sum, page) => sum + page.seen.length, 0);
  }
  const sent = victims.reduce((sum, victim) => sum + victim.sent, 0);
  stage.note(
    `${sent} messages to ${victims.length} who were sent away, ${seen - late} seen before, ${late} after`,
  );
  stage.check(seen > 0, 'nobody saw anything before: the scenario proves nothing');
}
