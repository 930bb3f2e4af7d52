/**
 * Asks the application again whether those who are here may stay: all pages of whom the same would be asked together, at
 * their time, by the one sweep of the push server. Whoever may not is sent away.
 */
import { monotonicNow } from '../../clock.ts';
import type { Attributes } from '../../server/transport.ts';
import { delayOf } from '../../waiting.ts';
import { explain } from '../explain.ts';
import type { Log } from '../options.ts';
import type { Session } from '../pages/session.ts';
import { CloseCode } from '../talk/wire.ts';
import { type Due, Wheel } from '../wheel.ts';
import type { Known } from './answer.ts';
import type { Answered } from './application.ts';
import type { Barrier } from './barrier.ts';
import { changesOf, leaveStanding, ownChangesOf, type Standing, standingOf } from './standing.ts';

/** Milliseconds between questions while there is no answer, the first time and at most. */
const RETRY = { min: 1_000, max: 30_000 };
/** The part of the interval by which pages that came together are spread. */
const JITTER = 0.2;
/** The part of what is left of a login after which it is asked whether there is more. */
const BEFORE_END = 0.9;
/** Milliseconds that this is before the end, so that there is an answer by then: seconds are what the wheel counts in. */
const MARGIN = 2_000;
/** Milliseconds: what is left is too little to ask again before. */
const SHORTEST = 1_000;
/** Milliseconds after which no handshake is under way any more that was so when it was told to ask again. */
const HANDSHAKE = 60_000;

/** What has come of asking again. */
export interface Rechecked {
  /** Sessions that were asked about. */
  sessions: number;
  /** Those of them that may not stay. */
  ended: number;
  /** Those of whom there was no answer; they are asked about until there is one. */
  unanswered: number;
}

interface Group extends Due {
  readonly standing: Standing;
  readonly sessions: Set<Session>;
  /** Since when there has been no answer, in milliseconds of the monotonic clock. */
  failing: number | undefined;
  attempts: number;
  /** Resolves when it is known whether the login, which is over, lasts longer by now. */
  lastQuestion: Promise<unknown> | undefined;
}

export interface RecheckParts {
  /** Sends a session away. */
  dismiss(session: Session, code: number, reason: string): void;
  /** Milliseconds until a login that ends then is over. */
  left(expires: number): number;
  barrier: Barrier;
  log: Log;
}

export class Rechecks {
  readonly #parts: RecheckParts;
  readonly #groups = new Map<string, Group>();
  readonly #groupOf = new Map<Session, Group>();
  readonly #wheel: Wheel<Group>;
  /** Those about which there is no answer. */
  readonly #failing = new Set<Group>();
  /** When it was told to ask about a user again, in that order: who was on the way in is asked about, too. */
  readonly #told = new Map<string, number>();

  constructor(parts: RecheckParts) {
    this.#parts = parts;
    this.#wheel = new Wheel((group) => void this.#ask(group, false));
  }

  /** What is asked from time to time, however many sessions it is about. */
  get size(): number {
    return this.#groups.size;
  }

  /** A session has come. */
  watch(session: Session): void {
    const standing = standingOf(session.attributes);
    if (standing === undefined) return;
    const group = this.#join(session, standing);
    const told = this.#told.get(session.user);
    if (told !== undefined && told >= standing.asked) void this.#ask(group, true);
  }

  forget(session: Session): void {
    const group = this.#groupOf.get(session);
    if (group === undefined) return;
    this.#groupOf.delete(session);
    group.sessions.delete(session);
    if (group.sessions.size > 0) return;
    this.#groups.delete(group.standing.question.key);
    this.#wheel.delete(group);
    this.#works(group);
  }

  /**
   * Asks again at once.
   *
   * @param of all sessions of the user
   * @returns how many are asked about, and what comes of it
   */
  recheck(user: string, of: Iterable<Session>): { sessions: number; outcome: Promise<Rechecked> } {
    this.#told.delete(user);
    this.#told.set(user, monotonicNow());
    const groups = new Set<Group>();
    for (const session of [...of]) {
      const group = this.#current(session);
      if (group !== undefined) groups.add(group);
    }
    let sessions = 0;
    for (const group of groups) sessions += group.sessions.size;
    return { sessions, outcome: sumOf([...groups].map((group) => this.#ask(group, true))) };
  }

  /**
   * The login of a session is over. It goes, unless the application says that the login lasts longer by now: logins are
   * used at their very end, and the answer that said so may have been late, as this process stood still. It stays for as
   * long as this answer takes.
   */
  async loginIsOver(session: Session): Promise<void> {
    const { expires } = session;
    const group = this.#current(session);
    if (group !== undefined && this.#mayLast(group, expires)) {
      group.lastQuestion ??= this.#ask(group, true).finally(() => {
        group.lastQuestion = undefined;
      });
      await group.lastQuestion;
    }
    if (session.phase === 'closed') return;
    // With another end that is still to come, it is waited for that one. An application that says each time that the login has
    // just ended would be asked for ever.
    const { expires: next } = session;
    if (next !== expires && (next === undefined || this.#parts.left(next) > 0)) return;
    this.#parts.dismiss(session, CloseCode.NOT_AUTHENTICATED, 'the login has ended');
  }

  /** Once a second. @param now milliseconds of the monotonic clock */
  sweep(now: number): void {
    this.#wheel.sweep(now);
    for (const [user, time] of this.#told) {
      if (now - time < HANDSHAKE) break;
      this.#told.delete(user);
    }
  }

  #join(session: Session, standing: Standing): Group {
    const { key } = standing.question;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = {
        standing,
        sessions: new Set(),
        failing: undefined,
        attempts: 0,
        lastQuestion: undefined,
        due: 0,
      };
      this.#groups.set(key, group);
    }
    const others = [...group.sessions];
    group.sessions.add(session);
    this.#groupOf.set(session, group);
    if (others.length === 0) this.#schedule(group);
    if (group.standing === standing) return group;
    leaveStanding(session.attributes, group.standing);
    // Whichever was asked later counts for all of them.
    const began = this.#begin();
    if (standing.asked >= group.standing.asked) this.#answered(group, standing, others, began);
    else this.#apply(session, standing.known, group.standing.known, began);
    return group;
  }

  /** A new ticket may have brought it among others. */
  #current(session: Session): Group | undefined {
    const group = this.#groupOf.get(session);
    const standing = standingOf(session.attributes);
    if (group === undefined || standing === undefined || standing === group.standing) return group;
    this.forget(session);
    return this.#join(session, standing);
  }

  /** Whether it is the application that has said this end, and not when it was over already. */
  #mayLast({ standing: { application, known, asked } }: Group, expires: number | undefined): boolean {
    if (application.recheck === 0 || expires === undefined || known.expires !== expires) return false;
    return asked < monotonicNow() + this.#parts.left(expires);
  }

  async #ask(group: Group, isNew: boolean): Promise<Rechecked> {
    for (const session of [...group.sessions]) this.#current(session);
    const { application, question } = group.standing;
    if (group.sessions.size > 0) {
      const began = this.#begin();
      const answered = await application.ask(question, this.#parts.log, { isNew });
      if (group.sessions.size > 0) return this.#settle(group, answered, began);
    }
    return { sessions: 0, ended: 0, unanswered: 0 };
  }

  #settle(group: Group, answered: Answered, began: Attributes): Rechecked {
    const sessions = group.sessions.size;
    if ('refused' in answered) {
      const [code, reason] =
        answered.refused === 401
          ? [CloseCode.NOT_AUTHENTICATED, 'the login has ended']
          : [CloseCode.FORBIDDEN, 'the application does not let this page stay'];
      this.#end(group, code, reason);
      this.#works(group);
    } else if ('problem' in answered) {
      group.failing ??= answered.asked;
      this.#fails(group);
      const left = group.failing + group.standing.application.grace - monotonicNow();
      if (left > 0) this.#wheel.add(group, monotonicNow() + Math.min(left, delayOf(group.attempts++, RETRY)));
      else
        this.#end(group, CloseCode.TRY_AGAIN, 'the application can not be asked whether this page may stay');
      return { sessions, ended: sessions - group.sessions.size, unanswered: sessions };
    } else {
      this.#answered(group, answered, [...group.sessions], began);
      this.#schedule(group);
    }
    return { sessions, ended: sessions - group.sessions.size, unanswered: 0 };
  }

  /** @param sessions those that were let in by an earlier answer */
  #answered(
    group: Group,
    { known, asked }: { known: Known; asked: number },
    sessions: Session[],
    began: Attributes,
  ): void {
    const { standing } = group;
    group.failing = undefined;
    group.attempts = 0;
    this.#works(group);
    // An answer may come later than one that was asked for after it.
    if (asked < standing.asked) return;
    const before = standing.known;
    standing.known = known;
    standing.asked = asked;
    for (const session of sessions) this.#apply(session, before, known, began);
  }

  #apply(session: Session, before: Known, now: Known, began: Attributes): void {
    const { dismiss, barrier } = this.#parts;
    if (before.user !== now.user) {
      dismiss(session, CloseCode.NOT_AUTHENTICATED, 'somebody else has signed in');
      return;
    }
    // It may be another login than before, which was ended while it was asked about.
    const { user, device, login } = session;
    Object.assign(began, { user, login: now.login ?? login });
    const objection = now.login === before.login ? undefined : barrier.objection(began, device);
    if (objection !== undefined) {
      dismiss(session, objection.code, objection.reason);
      return;
    }
    const { topics = [] } = now;
    try {
      if (areSame(before, now)) Object.assign(session.attributes, ownChangesOf(before, now));
      else
        session.renew({
          ...changesOf(before, now),
          topics: barrier.topicsLeft(Object.assign(began, { topics }))!,
        });
    } catch (error) {
      this.#parts.log('error', `what the application says of a page now can't be: ${explain(error)}`, {
        event: 'recheck-unfit',
        user: session.user,
        error: explain(error),
      });
    }
  }

  #end(group: Group, code: number, reason: string): void {
    const sessions = [...group.sessions];
    for (const session of sessions) this.#parts.dismiss(session, code, reason);
    if (sessions.length === 0) return;
    const { user } = sessions[0]!;
    const pages = `${sessions.length} session${sessions.length === 1 ? '' : 's'} of ${user}`;
    this.#parts.log('info', `${pages} ended: ${reason}`, {
      event: 'recheck-ended-sessions',
      user,
      sessions: sessions.length,
      code,
    });
  }

  #fails(group: Group): void {
    this.#failing.add(group);
    if (this.#failing.size > 1) return;
    const { grace } = group.standing.application;
    this.#parts.log(
      'warn',
      `whether pages may stay can't be asked: for now they do, for ${grace} ms at most`,
      {
        event: 'rechecks-failing',
        grace,
      },
    );
  }

  /** It was answered, or there is nobody left to ask about. */
  #works(group: Group): void {
    if (!this.#failing.delete(group) || this.#failing.size > 0) return;
    this.#parts.log('warn', 'whether pages may stay is answered again', { event: 'rechecks-back' });
  }

  /** What is ended from here on has to be looked for. */
  #begin(): Attributes {
    const began: Attributes = {};
    this.#parts.barrier.begins(began);
    return began;
  }

  /** Also shortly before the login's end, which may have been moved meanwhile, as the user was there; and then at it. */
  #schedule(group: Group): void {
    const { application, known } = group.standing;
    const { recheck } = application;
    if (recheck === 0 || group.sessions.size === 0) return;
    const spread = 1 - JITTER * Math.random();
    const left = known.expires === undefined ? Number.POSITIVE_INFINITY : known.expires - Date.now();
    const early = Math.min(left * BEFORE_END, left - MARGIN);
    const before = early < SHORTEST ? left : early * spread;
    // Once it is over, the leeway is left, and then the last question.
    const wait = left > 0 ? Math.min(before, recheck * spread) : recheck * spread;
    this.#wheel.add(group, monotonicNow() + wait);
  }
}

/** Whether the page need not be told. */
function areSame(before: Known, now: Known): boolean {
  const text = ({ login, expires, topics }: Known): string => JSON.stringify([login, expires, topics]);
  return text(before) === text(now);
}

async function sumOf(outcomes: Promise<Rechecked>[]): Promise<Rechecked> {
  const sum = { sessions: 0, ended: 0, unanswered: 0 };
  for (const each of await Promise.all(outcomes)) {
    sum.sessions += each.sessions;
    sum.ended += each.ended;
    sum.unanswered += each.unanswered;
  }
  return sum;
}
