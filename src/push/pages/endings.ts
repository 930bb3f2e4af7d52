/**
 * Sessions that are ended from outside: which ones, on this instance, and who comes too late for it because his
 * handshake was under way at that moment.
 */
import { monotonicNow } from '../../clock.ts';
import type { Mark } from '../../pubsub/store/control.ts';
import { CloseCode } from '../talk/wire.ts';
import { comeAgainCode } from './drain.ts';
import type { SessionRegistry } from './registry.ts';
import type { Session } from './session.ts';

/** Which sessions: those that have all that is named. */
export interface Which {
  user?: string | undefined;
  login?: string | undefined;
  session?: string | undefined;
  device?: string | undefined;
  /** Not sessions, but what they have of this topic. */
  topic?: string | undefined;
}

export interface Ending extends Which {
  code: number;
  reason: string;
}

/** Milliseconds that an ending is remembered: longer than a handshake takes. */
const REMEMBERED = 120_000;
const MAX_REMEMBERED = 10_000;

/** For who began so long ago that nobody remembers what has ended since: he may come again. */
const FORGOTTEN: Ending = { code: CloseCode.DRAIN, reason: 'this has taken too long, come again' };

interface Remembered {
  ending: Ending;
  /** Which one it is on this instance. */
  nth: number;
  /** Where it stands in the control log. */
  mark: Mark;
  at: number;
}

export class Endings {
  readonly #registry: SessionRegistry;
  readonly #end: (session: Session, code: number, reason: string) => void;
  /** Oldest first. */
  #remembered: Remembered[] = [];
  /** How many there were on this instance. What has ended until now does not concern who begins now. */
  count = 0;
  /** How many of them are not remembered any more. */
  #forgotten = 0;

  constructor(registry: SessionRegistry, end: (session: Session, code: number, reason: string) => void) {
    this.#registry = registry;
    this.#end = end;
  }

  /** Ends the sessions of this instance, and remembers it for those who are on their way. Returns how many. */
  carryOut(body: Record<string, unknown>, mark: Mark): number {
    const ending = endingOf(body);
    if (ending === undefined) return 0;
    this.#remember({ ending, nth: ++this.count, mark, at: monotonicNow() });
    let count = 0;
    const { user } = ending;
    const among = user === undefined ? [...this.#registry.everyone()] : this.#registry.everyoneOf(user);
    for (const session of among) {
      if (!isMeant(ending, whoIs(session))) continue;
      this.#end(session, ending.code, ending.reason);
      count++;
    }
    return count;
  }

  /** Remembers a topic that was taken from a user, for who is on his way to it. */
  take(user: string, topic: string, mark: Mark): void {
    const ending = { user, topic, code: 0, reason: 'unsubscribed' };
    this.#remember({ ending, nth: ++this.count, mark, at: monotonicNow() });
  }

  /** Ends those of whom `why` gives a reason. Returns how many. */
  endWhere(why: (session: Session) => string | undefined): number {
    let count = 0;
    for (const session of [...this.#registry.everyone()]) {
      const reason = why(session);
      if (reason === undefined) continue;
      this.#end(session, CloseCode.NOT_AUTHENTICATED, reason);
      count++;
    }
    return count;
  }

  /** Ends all, of whom nobody can say who should have been ended. Who may comes back. */
  endAll(reason: string): void {
    for (const session of [...this.#registry.everyone()]) {
      this.#end(session, comeAgainCode(session), reason);
    }
  }

  /** What has ended somebody here since there were `count` of them. */
  since(count: number, who: Which): Ending | undefined {
    if (count < this.#forgotten) return FORGOTTEN;
    return this.#find(
      ({ nth }) => nth > count,
      (ending) => isMeant(ending, who),
    );
  }

  /**
   * Whether somebody may have been ended behind a mark of another instance, perhaps only on one of his devices.
   *
   * @param here how far this instance is: of an epoch that is over, nobody can say
   */
  isEndedSince({ epoch, number }: Mark, here: Mark, who: Which): boolean {
    const isLater = ({ mark }: Remembered): boolean =>
      mark.epoch === epoch ? mark.number > number : epoch !== here.epoch;
    const isMeantAtAll = ({ user, login, topic }: Ending): boolean => isMeant({ user, login, topic }, who);
    return this.#find(isLater, isMeantAtAll) !== undefined;
  }

  #find(isLater: (one: Remembered) => boolean, isHis: (one: Ending) => boolean): Ending | undefined {
    for (let i = this.#remembered.length - 1; i >= 0; i--) {
      const one = this.#remembered[i]!;
      if (!isLater(one)) return undefined;
      if (isHis(one.ending)) return one.ending;
    }
    return undefined;
  }

  #remember(one: Remembered): void {
    const all = this.#remembered;
    all.push(one);
    let old = Math.max(0, all.length - MAX_REMEMBERED);
    while (all[old]!.at <= one.at - REMEMBERED) old++;
    // Not each by itself.
    if (old < all.length / 8) return;
    this.#forgotten += old;
    this.#remembered = all.slice(old);
  }
}

/** Who it is that an ending may be about. */
function whoIs({ user, login, id, device }: Session): Which {
  return { user, login, session: id, device };
}

function isMeant(which: Which, who: Which): boolean {
  return (['user', 'login', 'session', 'device', 'topic'] as const).every(
    (name) => which[name] === undefined || which[name] === who[name],
  );
}

/** As it came from an instance, perhaps of another version; undefined for what names nobody. */
function endingOf(body: Record<string, unknown>): Ending | undefined {
  const { code, reason } = body;
  if (typeof code !== 'number' || typeof reason !== 'string') return undefined;
  const which: Which = {};
  for (const name of ['user', 'login', 'session', 'device'] as const) {
    const value = body[name];
    if (value !== undefined && typeof value !== 'string') return undefined;
    if (value !== undefined) which[name] = value;
  }
  if (which.user === undefined && which.login === undefined) return undefined;
  return { ...which, code, reason };
}
