/** Sends sessions away and keeps users and logins out, on all instances; what it promises is in docs/endings.md. */
import type { Log } from '../../log-fields.ts';
import { checkNames, type Names } from '../../option-names.ts';
import { MAX_REASON } from '../../protocol/frame-writer.ts';
import { type ControlLog, RESTORED } from '../../pubsub/store/control.ts';
import type { Commands } from '../commands.ts';
import { printable } from '../explain.ts';
import type { Ending, Endings } from '../pages/endings.ts';
import { isDevice, loginProblem, userProblem } from '../talk/names.ts';
import { CloseCode } from '../talk/wire.ts';
import { type Block, type Blocked, Blocks, changeOf, whoOf } from './blocks.ts';

/** Which sessions of a user `disconnect` ends, and what their pages are told. */
export interface DisconnectSettings {
  /** Only sessions of this login, as an interceptor has named it. */
  login?: string;
  /** Only this session. */
  session?: string;
  /** Only sessions of this device. */
  device?: string;
  /** 1000, or 3000 to 4999. Default 4501: the page does not come back by itself. */
  code?: number;
  /** For the page. At most 123 bytes. */
  reason?: string;
}

/** How long `block` keeps somebody out, and what pages are told. */
export interface BlockSettings {
  /** When it ends by itself: milliseconds since 1970, or a Date. Default: never. */
  until?: number | Date;
  /** For the page. At most 123 bytes. */
  reason?: string;
}

const DISCONNECT: Names<DisconnectSettings> = {
  login: true,
  session: true,
  device: true,
  code: true,
  reason: true,
};
const BLOCK: Names<BlockSettings> = { until: true, reason: true };
const END = 'end';
const NOTHING = 'nothing';
const MAX_SESSION = 64;
/** Two of them are one, U+FFFD, in a frame. */
const SURROGATE = /\p{Surrogate}/u;

export class Exclusion {
  readonly blocks: Blocks;
  readonly #control: ControlLog;
  readonly #commands: Commands;
  readonly #log: Log;

  constructor(control: ControlLog, commands: Commands, endings: Endings, log: Log) {
    this.blocks = new Blocks(control);
    this.#control = control;
    this.#commands = commands;
    this.#log = log;
    commands.on(END, (body, mark) => {
      const count = endings.carryOut(body, mark);
      if (count > 0) this.#tellEnded(count, body as unknown as Ending);
      return count;
    });
    // Whoever is here although he is blocked came in while nobody here could know.
    commands.on(RESTORED, () => endings.endWhere(({ user, login }) => this.blocks.of(user, login)?.reason));
  }

  async disconnect(user: string, settings: DisconnectSettings): Promise<number> {
    // One that is misspelled would end all of the user's sessions.
    checkNames('disconnect', settings, DISCONNECT);
    const { login, session, device, code = CloseCode.NOT_AUTHENTICATED } = settings;
    const problem = userProblem(user) ?? (login === undefined ? undefined : loginProblem(login));
    if (problem !== undefined) throw new TypeError(problem);
    if (device !== undefined && !isDevice(device)) throw new TypeError('the device is none');
    if (session !== undefined && (typeof session !== 'string' || session.length > MAX_SESSION)) {
      throw new TypeError('the session is none');
    }
    if (!Number.isInteger(code) || (code !== 1000 && !(code >= 3000 && code <= 4999))) {
      throw new RangeError(`a session can be closed with 1000 or 3000 to 4999, not ${String(code)}`);
    }
    const reason = checkedReason(settings.reason, 'the session was ended');
    return this.#commands.say(END, defined({ user, login, session, device, code, reason }));
  }

  async block(blocked: Blocked, settings: BlockSettings): Promise<number> {
    const who = whoOf(blocked);
    checkNames('block', settings, BLOCK);
    const until = settings.until === undefined ? Number.POSITIVE_INFINITY : Number(settings.until);
    if (!(until > Date.now())) throw new RangeError('`until` is no moment that is still to come');
    const reason = checkedReason(settings.reason, 'blocked');
    const change = changeOf(who, { until, reason });
    const count = await this.#commands.say(
      END,
      { ...who, code: CloseCode.NOT_AUTHENTICATED, reason },
      change,
    );
    this.#tellBlocked(who, until);
    return count;
  }

  async unblock(blocked: Blocked): Promise<boolean> {
    const who = whoOf(blocked);
    const isBlocked = this.#blockOf(who) !== undefined;
    await this.#commands.say(NOTHING, {}, changeOf(who, undefined));
    const [name, user] = namesOf(who);
    this.#log('info', `${name} is not blocked any more`, { event: 'user-unblocked', user });
    return isBlocked;
  }

  /** @throws {Error} while this instance may have missed a change */
  async all(): Promise<Block[]> {
    this.#check();
    return this.blocks.all();
  }

  async of(blocked: Blocked): Promise<Block | undefined> {
    this.#check();
    return this.#blockOf(whoOf(blocked));
  }

  #blockOf(who: { user: string } | { login: string }): Block | undefined {
    return 'user' in who ? this.blocks.of(who.user, undefined) : this.blocks.of(undefined, who.login);
  }

  #check(): void {
    if (!this.#control.mayDeliver()) throw new Error('the store is away, so who is blocked is not known');
  }

  #tellEnded(sessions: number, { user }: Ending): void {
    const whose = user === undefined ? 'of a login' : `of ${printable(user)}`;
    this.#log('info', `${sessions} session${sessions === 1 ? '' : 's'} ${whose} ended by command`, {
      event: 'sessions-ended',
      sessions,
      user,
    });
  }

  #tellBlocked(who: { user: string } | { login: string }, until: number): void {
    const [name, user] = namesOf(who);
    const end = new Date(until);
    const isForEver = Number.isNaN(end.getTime());
    this.#log('info', `${name} is blocked${isForEver ? '' : ` until ${end.toISOString()}`}`, {
      event: 'user-blocked',
      user,
      until: isForEver ? undefined : end.toISOString(),
    });
  }
}

/** For the log, which has no login in it. */
function namesOf(who: { user: string } | { login: string }): [name: string, user: string | undefined] {
  return 'user' in who ? [printable(who.user), who.user] : ['a login', undefined];
}

function checkedReason(reason: unknown, fallback: string): string {
  if (reason === undefined) return fallback;
  if (typeof reason !== 'string' || SURROGATE.test(reason)) throw new TypeError('the reason is no text');
  if (Buffer.byteLength(reason) > MAX_REASON)
    throw new RangeError(`a reason has at most ${MAX_REASON} bytes`);
  return reason;
}

function defined(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}
