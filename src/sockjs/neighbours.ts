/**
 * SockJS sessions over several instances: who has which one is claimed on a bus, and requests that come to
 * another instance are passed on over it. A message that gets lost there ends the session, so that its
 * client begins anew and recovers; never is one lost in silence.
 */

import { createHash } from 'node:crypto';
import type { Attributes } from '../server/transport.ts';
import { afterReading, within } from '../waiting.ts';
import type { Bus } from './bus.ts';
import type { Credentials } from './credentials.ts';
import type { Fence } from './fence.ts';
import { type Receiver, wayOf } from './session.ts';

/**
 * Of the time that a session waits for a receiver: for the store, and for another instance's answer. With twice that, and
 * what the frame takes over the slowest line, it counts as lost, before the session ends for want of a receiver.
 */
const PATIENCE = 0.4;

/** What became of a request; `stamp` goes with a frame (see Fence). */
interface Answer {
  ok: boolean;
  frame?: string | undefined;
  stamp?: string | undefined;
}

/** What instances say to each other; `n` tells the requests of one instance apart. */
type Envelope = { from: string; n: number } & (
  | { type: 'send'; id: string; who: Credentials; messages: string[] }
  | { type: 'tooLong'; id: string; who: Credentials }
  | { type: 'receive'; id: string; who: Credentials }
  | { type: 'taken' | 'gone' }
  | ({ type: 'answer' } & Answer)
);

/** Where a session is that is not ours. */
export interface RemoteSession {
  /** What the client sent. False where that can't be known or the session is gone: the client has to begin anew. */
  send(messages: string[]): Promise<boolean>;
  /** Its client has sent a message that is too long: ends it there. */
  tooLong(): void;
  /**
   * The next frame for the client; undefined where there will be none. Aborting the signal says that the client
   * has gone, perhaps without all of the frame.
   */
  receive(signal: AbortSignal): Promise<RemoteFrame | undefined>;
}

export interface RemoteFrame {
  text: string;
  /** Milliseconds for the client to take it. */
  patience: number;
  /** It was written to the client. If this is not said in time, the session counts it as lost. */
  taken(): void;
}

/** What a server does with its sessions for requests at other instances. */
export interface LocalSessions {
  /**
   * What a client sent to another instance. False if there is no such session, or it is somebody else's; a promise where
   * it has to wait until the application reads on.
   */
  take(id: string, who: Credentials, messages: string[]): boolean | Promise<unknown>;
  /** A client has sent a message that is too long to another instance. */
  tooLong(id: string, who: Credentials): void;
  /** A receiver of another kind than an HTTP response here. False as above. */
  attach(id: string, who: Credentials, receiver: Receiver): boolean;
  attributesOf(id: string): Attributes | undefined;
}

export interface NeighbourTimes {
  /** Milliseconds within which a waiting session says something, if only a heartbeat. */
  heartbeatDelay: number;
  /** Milliseconds without a receiver until a session is over. */
  disconnectDelay: number;
}

export class Neighbours {
  readonly #bus: Bus;
  readonly #local: LocalSessions;
  readonly #fence: Fence | undefined;
  readonly #heartbeatDelay: number;
  /** Milliseconds. */
  readonly #patience: number;
  #count = 0;
  /** Requests of ours that wait for an answer. */
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  /** Receivers of ours that stand for a request at another instance, by that instance and its number. */
  readonly #receivers = new Map<string, RemoteReceiver>();

  constructor(
    bus: Bus,
    local: LocalSessions,
    { heartbeatDelay, disconnectDelay }: NeighbourTimes,
    fence: Fence | undefined,
  ) {
    this.#fence = fence;
    this.#bus = bus;
    this.#local = local;
    this.#heartbeatDelay = heartbeatDelay;
    this.#patience = disconnectDelay * PATIENCE;
    bus.listen((payload) => this.#heard(payload));
  }

  /** Who of the others has this session; undefined if nobody. Never rejects. `who` asks. */
  async find(id: string, who: Credentials): Promise<RemoteSession | undefined> {
    const holders = await within(this.#patience, this.#bus.holders(keyOf(id)));
    const instance = holders?.find((holder) => holder !== this.#bus.instance);
    if (instance === undefined) return undefined;
    return {
      send: async (messages) => {
        const answer = await this.#ask(instance, { type: 'send', id, who, messages }, this.#patience);
        return answer?.ok ?? false;
      },
      tooLong: () =>
        this.#say(instance, { from: this.#bus.instance, n: ++this.#count, type: 'tooLong', id, who }),
      receive: async (signal) => {
        const n = this.#count + 1;
        const gone = () => this.#say(instance, { from: this.#bus.instance, n, type: 'gone' });
        signal.addEventListener('abort', gone);
        const patience = this.#heartbeatDelay + this.#patience;
        const answer = await this.#ask(instance, { type: 'receive', id, who }, patience, signal);
        if (signal.aborted) return undefined;
        const frame = answer?.frame;
        // It may have been on its way for long, and what it belongs to is over. Older instances don't say what that is.
        const isOver = answer?.stamp !== undefined && this.#fence?.mayPass(answer.stamp) === false;
        if (frame === undefined || isOver) {
          signal.removeEventListener('abort', gone);
          if (answer?.ok !== false) gone();
          return undefined;
        }
        return {
          text: frame,
          patience: timeFor(frame, this.#patience),
          taken: () => {
            signal.removeEventListener('abort', gone);
            this.#say(instance, { from: this.#bus.instance, n, type: 'taken' });
          },
        };
      },
    };
  }

  /** This instance has it. Resolves when the others can know. Never rejects. */
  async claim(id: string): Promise<void> {
    await within(this.#patience, this.#bus.claim(keyOf(id)));
  }

  release(id: string): void {
    this.#bus.release(keyOf(id));
  }

  #heard(payload: Buffer): void {
    const envelope = envelopeOf(payload);
    if (envelope === undefined) return;
    const { from, n } = envelope;
    const key = `${n} ${from}`;
    switch (envelope.type) {
      case 'answer':
        this.#waiting.get(n)?.(envelope);
        return;
      case 'send':
        this.#taken(envelope, this.#local.take(envelope.id, envelope.who, envelope.messages));
        return;
      case 'tooLong':
        this.#local.tooLong(envelope.id, envelope.who);
        return;
      case 'receive': {
        this.#receivers.get(key)?.lost();
        const attributes = this.#local.attributesOf(envelope.id) ?? {};
        const receiver: RemoteReceiver = new RemoteReceiver(
          this.#patience,
          (frame) => {
            const stamp = frame === undefined ? undefined : this.#fence?.stamp(attributes);
            this.#answer(envelope, { ok: frame !== undefined, frame, stamp });
          },
          () => {
            if (this.#receivers.get(key) === receiver) this.#receivers.delete(key);
          },
        );
        this.#receivers.set(key, receiver);
        if (!this.#local.attach(envelope.id, envelope.who, receiver)) {
          receiver.forget();
          this.#answer(envelope, { ok: false });
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

  /** Its client waits with the next, but not longer than the other instance waits for an answer. */
  #taken(envelope: Envelope, taken: boolean | Promise<unknown>): void {
    if (typeof taken === 'boolean') this.#answer(envelope, { ok: taken });
    else void within(this.#patience / 2, taken).then(() => this.#answer(envelope, { ok: true }));
  }

  async #ask(
    instance: string,
    request:
      | { type: 'send'; id: string; who: Credentials; messages: string[] }
      | { type: 'receive'; id: string; who: Credentials },
    patience: number,
    signal?: AbortSignal,
  ): Promise<Answer | undefined> {
    const n = ++this.#count;
    const answer = new Promise<Answer | undefined>((resolve) => {
      this.#waiting.set(n, resolve);
      signal?.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    this.#say(instance, { from: this.#bus.instance, n, ...request });
    const result = await within(patience, answer);
    this.#waiting.delete(n);
    return result;
  }

  #answer({ from, n }: Envelope, answer: Answer): void {
    // JSON leaves out what is undefined.
    this.#say(from, { from: this.#bus.instance, n, type: 'answer', ...answer });
  }

  #say(instance: string, envelope: Envelope): void {
    this.#bus.say(instance, Buffer.from(JSON.stringify(envelope)));
  }
}

/** A session's receiver here for one frame, which a request at another instance waits for. */
class RemoteReceiver implements Receiver {
  readonly isWritable = true;
  readonly bufferedAmount = 0;
  readonly backlog = 0;
  onLost: (() => void) | undefined;
  readonly #patience: number;
  readonly #deliver: (frame: string | undefined) => void;
  readonly #over: () => void;
  #callOff = (): void => {};

  /** @param patience milliseconds, as for any answer */
  constructor(patience: number, deliver: (frame: string | undefined) => void, over: () => void) {
    this.#patience = patience;
    this.#deliver = deliver;
    this.#over = over;
  }

  send(frame: string): boolean {
    this.#deliver(frame);
    // What is not taken in time may be lost, and with it the session.
    this.#callOff = afterReading(timeFor(frame, this.#patience), () => this.lost());
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
    this.#callOff();
    this.#over();
  }
}

/** Milliseconds for a frame to get to another instance, and from there to its client, however slow his line. */
function timeFor(frame: string, patience: number): number {
  return 2 * patience + wayOf(Buffer.byteLength(frame));
}

/** Anybody who can reach the store can say anything: `undefined` for what is none of ours. */
function envelopeOf(payload: Buffer): Envelope | undefined {
  let value: unknown;
  try {
    value = JSON.parse(payload.toString());
  } catch {
    return undefined;
  }
  const { from, n, type, id, who, messages, ok, frame, stamp } = (value ?? {}) as Record<string, unknown>;
  if (typeof from !== 'string' || !Number.isSafeInteger(n)) return undefined;
  const isText = (text: unknown): boolean => typeof text === 'string';
  const areTexts = (texts: unknown): boolean => Array.isArray(texts) && texts.every(isText);
  const isFit =
    type === 'taken' ||
    type === 'gone' ||
    (type === 'send' && isText(id) && areTexts(who) && areTexts(messages)) ||
    ((type === 'receive' || type === 'tooLong') && isText(id) && areTexts(who)) ||
    (type === 'answer' &&
      typeof ok === 'boolean' &&
      (frame === undefined || isText(frame)) &&
      (stamp === undefined || isText(stamp)));
  return isFit ? (value as Envelope) : undefined;
}

/** Under what a session is claimed. Its id is its client's secret and may be anything: hashed. */
function keyOf(id: string): string {
  return createHash('sha256').update(id).digest('base64url');
}
