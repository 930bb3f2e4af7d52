/**
 * Listens in on sessions of this instance: what goes to them, what comes from them, and when they come and go. What is
 * listened to has its methods covered, and uncovered in the end: where nobody listens nothing is asked.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { sendSoon, type Transport } from '../../server/transport.ts';
import type { FanOut } from '../delivery/audience.ts';
import type { Lobby } from '../door/lobby.ts';
import { isReached } from '../pages/broadcasts.ts';
import type { SessionRegistry } from '../pages/registry.ts';
import type { Session } from '../pages/session.ts';
import { BROADCAST } from '../talk/wire.ts';

export interface Listener {
  opened(session: Session): void;
  closed(session: Session, code: number, reason: string): void;
  /** @param isIn from the page; `data` is only valid during the call */
  frame(session: Session, data: string | Buffer, isBinary: boolean, isIn: boolean): void;
}

export interface TapParts {
  registry: SessionRegistry;
  lobby: Lobby;
  fanOut: FanOut;
  /** Of all users: whoever is not followed is not asked for more. */
  follows(user: string): boolean;
  listener: Listener;
}

export class Taps {
  readonly #parts: TapParts;
  readonly #sessions = new Set<Session>();
  #isOn = false;

  constructor(parts: TapParts) {
    this.#parts = parts;
  }

  /** Those of a user. */
  of(user: string): Session[] {
    return [...this.#sessions].filter((session) => session.user === user);
  }

  /** The user is followed from here on. */
  add(user: string): void {
    this.#switchOn();
    for (const session of this.#parts.registry.everyoneOf(user)) this.#tap(session);
  }

  /** Whoever is not followed any more. */
  review(): void {
    for (const session of [...this.#sessions]) if (!this.#parts.follows(session.user)) this.#untap(session);
  }

  /** Nobody is followed any more. */
  stop(): void {
    for (const session of [...this.#sessions]) this.#untap(session);
    if (!this.#isOn) return;
    this.#isOn = false;
    const { lobby, fanOut } = this.#parts;
    Reflect.deleteProperty(lobby, 'message');
    Reflect.deleteProperty(fanOut, 'publish');
    unsubscribe('tidings:session:open', this.#onOpen);
    unsubscribe('tidings:session:end', this.#onClose);
    unsubscribe('tidings:session:close', this.#onClose);
  }

  #switchOn(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    const { lobby, fanOut, listener } = this.#parts;
    const message = lobby.message;
    cover(lobby, 'message', (transport: Transport, data: Buffer, isBinary: boolean) => {
      const session = lobby.sessionOf(transport);
      if (session !== undefined && this.#sessions.has(session)) listener.frame(session, data, isBinary, true);
      message.call(lobby, transport, data, isBinary);
    });
    const publish = fanOut.publish;
    cover(fanOut, 'publish', (group, frame) => {
      const count = publish.call(fanOut, group, frame);
      for (const session of this.#sessions) {
        if (this.#isInGroup(session, group)) listener.frame(session, frame.payload, frame.isBinary, false);
      }
      return count;
    });
    subscribe('tidings:session:open', this.#onOpen);
    subscribe('tidings:session:end', this.#onClose);
    subscribe('tidings:session:close', this.#onClose);
  }

  /** As Broadcasts and Audience have it. */
  #isInGroup(session: Session, group: string): boolean {
    if (group === BROADCAST) return isReached(session, this.#parts.fanOut);
    const subscription = session.subscriptions.get(group);
    return subscription?.isShared === true && subscription.place === 'live';
  }

  readonly #onOpen = (event: unknown): void => {
    const { session } = event as { session: Session };
    if (!this.#isOurs(session) || !this.#parts.follows(session.user)) return;
    this.#parts.listener.opened(session);
    this.#tap(session);
  };

  /** The first that is told of a session's end. */
  readonly #onClose = (event: unknown): void => {
    const { session, code, reason } = event as { session: Session; code: number; reason: string };
    if (!this.#sessions.has(session)) return;
    this.#untap(session);
    this.#parts.listener.closed(session, code, reason);
  };

  /** The channels are of the whole process, where there may be several push servers. */
  #isOurs(session: Session): boolean {
    return this.#parts.lobby.sessionOf(session.transport) === session;
  }

  #tap(session: Session): void {
    if (this.#sessions.has(session)) return;
    this.#sessions.add(session);
    const { transport } = session;
    const { listener } = this.#parts;
    const told = (data: string | Buffer): void => {
      if (transport.readyState === 1) listener.frame(session, data, typeof data !== 'string', false);
    };
    const send = transport.send;
    cover(transport, 'send', (data: string | Buffer) => {
      told(data);
      return send.call(transport, data);
    });
    const soon = transport[sendSoon];
    if (soon === undefined) return;
    cover(transport, sendSoon, (data: string) => {
      told(data);
      soon.call(transport, data);
    });
  }

  #untap(session: Session): void {
    this.#sessions.delete(session);
    Reflect.deleteProperty(session.transport, 'send');
    Reflect.deleteProperty(session.transport, sendSoon);
  }
}

/** By a property of the object itself: the method of its class is below, and there again when that is deleted. */
function cover<T extends object, N extends keyof T>(target: T, name: N, method: T[N]): void {
  Object.defineProperty(target, name, {
    value: method,
    configurable: true,
    writable: true,
    enumerable: false,
  });
}
