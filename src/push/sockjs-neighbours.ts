/**
 * SockJS sessions over several instances: who has which one stands in the store, and requests that come to
 * another instance are passed on by transient messages. One that gets lost ends the session, so that its
 * client begins anew and recovers; never is a message lost in silence.
 */

import { createHash } from 'node:crypto';
import { clearTimeout, setTimeout } from '../clock.ts';
import type { Broker } from '../pubsub/broker.ts';
import type { Neighbours, Receiver, RemoteSession, SockJsServer } from '../sockjs/index.ts';
import { Presence } from './pages/presence.ts';

/** No topic and no user has a name with a line break. */
const PREFIX = 'sockjs\n';
/**
 * Of the time that a session waits for a receiver: for the store, and for another instance's answer. With twice that a
 * frame counts as lost, before the session ends for want of a receiver.
 */
const PATIENCE = 0.4;

/** What instances say to each other; `n` tells the requests of one instance apart. */
type Envelope = { from: string; n: number } & (
  | { type: 'send'; id: string; messages: string[] }
  | { type: 'receive'; id: string }
  | { type: 'taken' | 'gone' }
  | { type: 'answer'; ok: boolean; frame?: string }
);

export interface NeighboursParts {
  instance: string;
  broker: Broker;
  /** Milliseconds that the claims of a vanished instance last. */
  ttl: number;
  /** Milliseconds within which a waiting session says something, if only a heartbeat. */
  heartbeatDelay: number;
  /** Milliseconds without a receiver until a session is over. */
  disconnectDelay: number;
  failed(error: unknown): void;
}

export class SockJsNeighbours implements Neighbours {
  /** What this instance listens to. */
  readonly channel: string;
  readonly #parts: NeighboursParts;
  readonly #claims: Presence;
  /** Milliseconds. */
  readonly #patience: number;
  #server: SockJsServer | undefined;
  #count = 0;
  /** Requests of ours that wait for an answer. */
  readonly #waiting = new Map<number, (answer: { ok: boolean; frame?: string }) => void>();
  /** Receivers of ours that stand for a request at another instance, by that instance and its number. */
  readonly #receivers = new Map<string, RemoteReceiver>();

  constructor(parts: NeighboursParts) {
    this.#parts = parts;
    this.#patience = parts.disconnectDelay * PATIENCE;
    this.channel = PREFIX + parts.instance;
    this.#claims = new Presence(parts.broker, parts.ttl, (error) => parts.failed(error));
  }

  /** Whose sessions these are. */
  serve(server: SockJsServer): void {
    this.#server = server;
  }

  async find(id: string): Promise<RemoteSession | undefined> {
    const entries = await within(this.#patience, this.#parts.broker.presence(userOf(id)));
    const instance = entries?.find((entry) => entry.instance !== this.#parts.instance)?.instance;
    if (instance === undefined) return undefined;
    return {
      send: async (messages) => {
        const answer = await this.#ask(instance, { type: 'send', id, messages }, this.#patience);
        return answer?.ok ?? false;
      },
      receive: async (signal) => {
        const n = this.#count + 1;
        const gone = () => this.#say(instance, { from: this.#parts.instance, n, type: 'gone' });
        signal.addEventListener('abort', gone);
        const patience = this.#parts.heartbeatDelay + this.#patience;
        const answer = await this.#ask(instance, { type: 'receive', id }, patience, signal);
        signal.removeEventListener('abort', gone);
        if (answer?.frame === undefined) return undefined;
        return {
          text: answer.frame,
          taken: () => this.#say(instance, { from: this.#parts.instance, n, type: 'taken' }),
        };
      },
    };
  }

  async claim(id: string): Promise<void> {
    this.#claims.add(this.#entry(id));
    await within(this.#patience, this.#claims.flush());
  }

  release(id: string): void {
    this.#claims.remove(this.#entry(id).session);
  }

  /** Something was said on `channel`. */
  heard(payload: Buffer): void {
    let envelope: Envelope;
    try {
      envelope = JSON.parse(payload.toString());
    } catch {
      return;
    }
    const { from, n } = envelope;
    const key = `${n} ${from}`;
    switch (envelope.type) {
      case 'answer':
        this.#waiting.get(n)?.(envelope);
        return;
      case 'send':
        this.#answer(envelope, this.#server?.sendFromElsewhere(envelope.id, envelope.messages) ?? false);
        return;
      case 'receive': {
        const receiver = new RemoteReceiver(
          2 * this.#patience,
          (frame) => this.#answer(envelope, frame !== undefined, frame),
          () => this.#receivers.delete(key),
        );
        this.#receivers.set(key, receiver);
        if (!this.#server?.receiveFromElsewhere(envelope.id, receiver)) {
          receiver.forget();
          this.#answer(envelope, false);
        }
        return;
      }
      case 'taken':
        this.#receivers.get(key)?.forget();
        return;
      case 'gone':
        this.#receivers.get(key)?.lost();
    }
  }

  /** Once a second. */
  sweep(now: number): void {
    this.#claims.sweep(now);
  }

  /** Withdraws the claims of the sessions that are over. */
  close(): Promise<void> {
    return this.#claims.flush();
  }

  #entry(id: string) {
    const { instance } = this.#parts;
    return { session: instance + userOf(id), instance, user: userOf(id), since: 0 };
  }

  async #ask(
    instance: string,
    request: { type: 'send'; id: string; messages: string[] } | { type: 'receive'; id: string },
    patience: number,
    signal?: AbortSignal,
  ): Promise<{ ok: boolean; frame?: string } | undefined> {
    const n = ++this.#count;
    const answer = new Promise<{ ok: boolean; frame?: string } | undefined>((resolve) => {
      this.#waiting.set(n, resolve);
      signal?.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    this.#say(instance, { from: this.#parts.instance, n, ...request });
    const result = await within(patience, answer);
    this.#waiting.delete(n);
    return result;
  }

  #answer({ from, n }: Envelope, ok: boolean, frame?: string): void {
    const answer = { from: this.#parts.instance, n, type: 'answer', ok } as const;
    this.#say(from, frame === undefined ? answer : { ...answer, frame });
  }

  #say(instance: string, envelope: Envelope): void {
    const payload = Buffer.from(JSON.stringify(envelope));
    this.#parts.broker.notify(PREFIX + instance, payload).catch((error) => this.#parts.failed(error));
  }
}

/** A session's receiver here for one frame, which a request at another instance waits for. */
class RemoteReceiver implements Receiver {
  readonly isWritable = true;
  readonly bufferedAmount = 0;
  onLost: (() => void) | undefined;
  readonly #patience: number;
  readonly #deliver: (frame: string | undefined) => void;
  readonly #over: () => void;
  #timer: NodeJS.Timeout | undefined;

  /** @param patience milliseconds for a frame to be taken */
  constructor(patience: number, deliver: (frame: string | undefined) => void, over: () => void) {
    this.#patience = patience;
    this.#deliver = deliver;
    this.#over = over;
  }

  send(frame: string): boolean {
    this.#deliver(frame);
    // What is not taken in time may be lost, and with it the session.
    this.#timer = setTimeout(() => this.lost(), this.#patience);
    return false;
  }

  end(): void {}

  destroy(): void {
    this.#deliver(undefined);
    this.forget();
  }

  /** The client has gone, or may not have got the frame. */
  lost(): void {
    this.forget();
    this.onLost?.();
  }

  forget(): void {
    clearTimeout(this.#timer);
    this.#over();
  }
}

/** Under whose name a session is claimed. Its id is its client's secret and may be anything: hashed. */
function userOf(id: string): string {
  return PREFIX + createHash('sha256').update(id).digest('base64url');
}

/** Undefined if it fails or takes longer. */
async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, milliseconds, undefined);
  });
  const result = await Promise.race([promise.catch(() => undefined), timeout]);
  clearTimeout(timer);
  return result;
}
