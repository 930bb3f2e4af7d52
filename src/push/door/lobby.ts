/**
 * Where transports become sessions: who has come in, what they send until somebody else takes it, and what
 * is left to do when they go.
 */

import { randomBytes } from 'node:crypto';
import { channel as diagnosticsChannel } from 'node:diagnostics_channel';
import { monotonicNow, queueMicrotask } from '../../clock.ts';
import type { PresenceEntry } from '../../pubsub/store/broker.ts';
import { attempt } from '../../server/handler-calls.ts';
import { originOf } from '../../server/origin.ts';
import { dropWaiting, type Handler, type HandshakeRequest, type Transport } from '../../server/transport.ts';
import type { DeliveryCounts } from '../delivery/delivery-counts.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import { explain, explainFully } from '../explain.ts';
import { queueLimits } from '../limits.ts';
import type { Logbook } from '../log.ts';
import type { Limits, Log } from '../options.ts';
import type { Logins } from '../pages/logins.ts';
import type { Presence } from '../pages/presence.ts';
import type { SessionRegistry } from '../pages/registry.ts';
import { Session, type SessionHost } from '../pages/session.ts';
import type { Slowness } from '../pages/session-counts.ts';
import type { Dialogue } from '../talk/dialogue.ts';
import { FrameQueue } from '../talk/frame-queue.ts';
import { CloseCode } from '../talk/wire.ts';
import type { Barrier } from './barrier.ts';
import { type HandshakeCounts, type RefusalReason, tellRefused } from './handshake-counts.ts';
import { IntakePace } from './intake-pace.ts';
import type { Rechecks } from './recheck.ts';
import { refusalOf } from './refusals.ts';

const opened = diagnosticsChannel('tidings:session:open');
const ended = diagnosticsChannel('tidings:session:end');
const closed = diagnosticsChannel('tidings:session:close');

/** RFC 6455 §7.4.1. */
const TOO_BIG = 1009;
/** Why sessions are closed that somebody may wonder about. */
const CUT: ReadonlyMap<number, string> = new Map([
  [CloseCode.HEARTBEAT_TIMEOUT, 'silent'],
  [CloseCode.DAMAGED, 'damaged'],
  [CloseCode.RATE_LIMIT, 'rate-limit'],
  [CloseCode.TOO_SLOW, 'slow'],
  [CloseCode.MALFORMED, 'malformed'],
  [CloseCode.REPLACED, 'replaced'],
  [TOO_BIG, 'too-big'],
]);
const PING = Buffer.from('ping');
const QUOTED_PING = Buffer.from('"ping"');

export interface LobbyParts {
  instance: string;
  limits: Limits;
  registry: SessionRegistry;
  counts: HandshakeCounts;
  barrier: Barrier;
  router: ChannelRouter;
  presence: Presence;
  logins: Logins;
  rechecks: Rechecks;
  dialogue: Dialogue;
  rules: { readonly plainCounts: boolean };
  /** The application's. */
  handler: Handler<Session>;
  addressOf(request: HandshakeRequest): string;
  /** A session's outbox is full. */
  filled(session: Session): void;
  /** It has room again. */
  drained(session: Session): void;
  log: Log;
  logbook: Logbook;
}

/** How far a full outbox was, and since when. */
interface Standing {
  backlog: number;
  /** On the monotonic clock. */
  since: number;
}

/** It is told of transports of any kind, once they are admitted. */
export class Lobby implements Handler<Transport>, SessionHost {
  readonly #parts: LobbyParts;
  readonly #sessions = new Map<Transport, Session>();
  /** Sessions that have not said hello, in the order in which they came. */
  readonly #silent = new Map<Session, number>();
  readonly #pace: IntakePace;
  readonly #full = new Map<Session, Standing>();
  #sweptAt = monotonicNow();
  readonly deliveries: DeliveryCounts;
  /** Sessions since the start. */
  count = 0;

  constructor(parts: LobbyParts) {
    this.#parts = parts;
    this.deliveries = parts.router.counts;
    this.#pace = new IntakePace(parts.limits);
  }

  get plainCounts(): boolean {
    return this.#parts.rules.plainCounts;
  }

  opened(transport: Transport, request: HandshakeRequest): void {
    const { registry, counts, barrier, presence, limits, logins, dialogue, addressOf, handler, log } =
      this.#parts;
    const refusal = refusalOf(transport.attributes);
    if (refusal !== undefined) {
      transport.close(refusal.code, refusal.reason);
      return;
    }
    const objection = barrier.objection(transport.attributes);
    const user = transport.attributes.user!;
    const address = addressOf(request);
    const turnAway = (why: RefusalReason, code: number, reason: string): void => {
      counts.refused[why]++;
      tellRefused(log, why, address, user);
      registry.free(address);
      transport.close(code, reason);
    };
    if (objection !== undefined) {
      turnAway(objection.isBlock === true ? 'blocked' : 'ended', objection.code, objection.reason);
      return;
    }
    if (isOdd(request) && registry.isUserFull(user)) {
      // Perhaps a foreign page that a visitor looks at: it must not close his own ones.
      turnAway('user-full', CloseCode.REPLACED, 'this user has as many sessions as there may be');
      return;
    }
    const queue = queueLimits(limits);
    const id = `s${randomBytes(9).toString('base64url')}`;
    const session = new Session(
      id,
      user,
      address,
      transport,
      limits.outbox,
      new FrameQueue(queue.frames, queue.bytes),
      logins,
      this,
    );
    this.#sessions.set(transport, session);
    this.count++;
    counts.accepted++;
    const { closing, ending } = registry.add(session);
    ending?.terminate();
    if (closing !== undefined) {
      presence.remove(closing.id);
      closing.close(CloseCode.REPLACED, 'a newer session of this user has taken its place');
    }
    logins.watch(session);
    presence.add(this.#entryOf(session));
    if (session.isTidings) this.#silent.set(session, monotonicNow());
    else session.phase = 'open';
    dialogue.open(session);
    const topics = barrier.topicsLeft(transport.attributes);
    for (const topic of topics ?? []) dialogue.give(session, topic);
    if (opened.hasSubscribers) opened.publish({ session });
    const { logbook } = this.#parts;
    if (logbook.isHeard('debug')) {
      const mode = session.isTidings ? 'tidings.1' : 'plain';
      logbook.log('debug', `a session of ${user} has opened`, {
        event: 'session-opened',
        user,
        session: id,
        address,
        mode,
      });
    }
    this.#tell(() => handler.opened?.(session, request));
    if (session.phase !== 'closed') this.#parts.rechecks.watch(session);
  }

  /** Whose transport it is, as long as it is open. */
  sessionOf(transport: Transport): Session | undefined {
    return this.#sessions.get(transport);
  }

  /** `data` is only valid during the call. */
  message(transport: Transport, data: Buffer, isBinary: boolean): void {
    const session = this.#sessions.get(transport);
    if (session === undefined || session.phase === 'closed') return;
    if (this.#pace.admit(session, data)) {
      this.#pace.inTurn(session, data, (own) => this.#obey(session, own, isBinary));
    } else {
      // It was not to be read from. Where it is on its way out, this is what it had sent before.
      session.close(CloseCode.RATE_LIMIT, 'more frames or bytes a second than allowed');
    }
  }

  #obey(session: Session, data: Buffer, isBinary: boolean): void {
    if (session.phase === 'closed') return;
    const { limits, dialogue, handler } = this.#parts;
    const { message } = limits;
    if (session.isTidings) {
      if (isBinary) session.close(CloseCode.MALFORMED, 'tidings.1 has no binary frames');
      else dialogue.receive(session, data);
    } else if (!isBinary && isPing(data)) session.write('hb_ok');
    else if (data.length > message) session.close(TOO_BIG, `a message may have ${message} bytes`);
    else this.#tell(() => handler.message?.(session, Buffer.from(data), isBinary));
  }

  transportError(transport: Transport, error: Error): void {
    const session = this.#sessions.get(transport);
    if (session !== undefined) this.#tell(() => this.#parts.handler.transportError?.(session, error));
  }

  closed(transport: Transport, code: number, reason: string): void {
    const session = this.#sessions.get(transport);
    if (session === undefined) return;
    this.#sessions.delete(transport);
    this.#leave(session);
    this.#parts.registry.counts.closes(code);
    this.#parts.registry.free(session.address);
    this.#tellEnd(session, code);
    if (closed.hasSubscribers) closed.publish({ session, code, reason });
    this.#tell(() => this.#parts.handler.closed?.(session, code, reason));
  }

  /**
   * Sends a session away: from here on it is told nothing, not even what waits for the network, and nothing that it says
   * is obeyed, however long it takes to go.
   */
  dismiss(session: Session, code: number, reason: string): void {
    session.isDismissed = true;
    this.#leave(session);
    if (!session.transport[dropWaiting](false)) session.close(code, reason);
    if (ended.hasSubscribers) ended.publish({ session, code, reason });
  }

  #leave(session: Session): void {
    const { registry, presence, logins, rechecks } = this.#parts;
    this.#silent.delete(session);
    this.#full.delete(session);
    this.#pace.forget(session);
    registry.delete(session);
    presence.remove(session.id);
    logins.forget(session);
    rechecks.forget(session);
    session.end();
  }

  /** The session has said hello. */
  greeted(session: Session): void {
    this.#silent.delete(session);
    if (session.device === undefined) return;
    // Whoever ended the sessions of this device did not know that this is one.
    const objection = this.#parts.barrier.objection(session.attributes, session.device);
    if (objection === undefined) this.#parts.presence.add(this.#entryOf(session));
    else this.dismiss(session, objection.code, objection.reason);
  }

  /** Whoever has something waiting is cut, as it may not leave any more: he comes back for it. */
  cutWaiting(): void {
    for (const { transport } of [...this.#parts.registry.everyone()]) transport[dropWaiting](true);
  }

  /** Sessions whose outbox is full. */
  get fullCount(): number {
    return this.#full.size;
  }

  mayDeliver(): boolean {
    return this.#parts.router.mayDeliver();
  }

  filled(session: Session): void {
    this.#full.set(session, { backlog: session.transport.backlog, since: monotonicNow() });
    if (session.isFull) return;
    this.deliveries.full++;
    session.isFull = true;
    this.#parts.filled(session);
  }

  tooSlow(session: Session, how: Slowness, reason: string): void {
    if (session.transport.readyState === 1) this.#parts.registry.counts.slow[how]++;
    session.close(CloseCode.TOO_SLOW, reason);
  }

  /** The same, of a transport. Not at once: what is just being handed to it is not half done then. */
  overfull(transport: Transport): void {
    queueMicrotask(() => this.#sessions.get(transport)?.overflow());
  }

  /** Once a second. */
  sweep(now: number): void {
    // After a stall of this process, what pages have said and taken meanwhile may be waiting in the kernel: look again next time.
    const isLate = now - this.#sweptAt > 3000;
    this.#sweptAt = now;
    if (isLate) return;
    this.#sweepFull(now);
    for (const [session, since] of this.#silent) {
      if (now - since < this.#parts.limits.helloTimeout) return;
      this.#silent.delete(session);
      session.close(CloseCode.HEARTBEAT_TIMEOUT, 'no hello in time');
    }
  }

  /** Slow is not dead: a page is only closed if it takes nothing at all. */
  #sweepFull(now: number): void {
    const { stall } = this.#parts.limits;
    for (const [session, standing] of this.#full) {
      const { backlog } = session.transport;
      if (session.bufferedAmount < session.busy) {
        this.#full.delete(session);
        session.isFull = false;
        this.#parts.drained(session);
      } else if (backlog < standing.backlog) {
        standing.backlog = backlog;
        standing.since = now;
      } else if (stall > 0 && now - standing.since >= stall) {
        this.#full.delete(session);
        this.tooSlow(session, 'stalled', 'the page takes nothing');
      } else standing.backlog = backlog;
    }
  }

  #tellEnd({ id, user, ending, since }: Session, code: number): void {
    const { logbook } = this.#parts;
    const cut = ending && CUT.get(ending.code);
    if (ending !== undefined && cut !== undefined) {
      logbook.log('info', `a session of ${user} was closed: ${ending.reason}`, {
        event: 'session-cut',
        reason: cut,
        user,
        session: id,
        code: ending.code,
      });
    }
    if (!logbook.isHeard('debug')) return;
    logbook.log('debug', `a session of ${user} is over`, {
      event: 'session-closed',
      user,
      session: id,
      code,
      milliseconds: Date.now() - since,
    });
  }

  #entryOf({ id, user, since, device }: Session): PresenceEntry {
    const entry = { session: id, instance: this.#parts.instance, user, since };
    return device === undefined ? entry : { ...entry, device };
  }

  /** An application's mistake must not end other sessions. */
  #tell(call: () => unknown): void {
    attempt(call, (thrown) =>
      this.#parts.log('error', `the handler threw: ${explainFully(thrown)}`, {
        event: 'handler-failed',
        error: explain(thrown),
      }),
    );
  }
}

/** By a browser's cookies, and not known to be by a page of ours: old browsers say neither Origin nor Fetch Metadata. */
function isOdd(request: HandshakeRequest): boolean {
  const { cookie, 'sec-fetch-site': site } = request.headers;
  return cookie !== undefined && originOf(request) === undefined && site !== 'same-origin';
}

function isPing(data: Buffer): boolean {
  return (data.length === 4 && data.equals(PING)) || (data.length === 6 && data.equals(QUOTED_PING));
}
