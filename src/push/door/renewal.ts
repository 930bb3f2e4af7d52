/**
 * Who a session is from now on: a page brings a new ticket, and the interceptors that can look at one are asked, in
 * their order, until one of them says something.
 */
import type { Attributes } from '../../server/transport.ts';
import { inTime } from '../../waiting.ts';
import { explain, explainFully } from '../explain.ts';
import type { Log, PushInterceptor } from '../options.ts';
import type { Logins } from '../pages/logins.ts';
import type { Session } from '../pages/session.ts';
import { FrameError } from '../talk/frames.ts';
import type { Barrier } from './barrier.ts';

export class Renewals {
  readonly #rules: { readonly interceptors: readonly PushInterceptor[] };
  readonly #logins: Logins;
  readonly #barrier: Barrier;
  readonly #limits: { readonly answer: number };
  readonly #log: Log;

  /** @param limits `answer`: milliseconds for all interceptors together */
  constructor(
    rules: { readonly interceptors: readonly PushInterceptor[] },
    logins: Logins,
    barrier: Barrier,
    limits: { readonly answer: number },
    log: Log,
  ) {
    this.#rules = rules;
    this.#logins = logins;
    this.#barrier = barrier;
    this.#limits = limits;
    this.#log = log;
  }

  /**
   * Asks, and has the session be what was said.
   *
   * @param ticket undefined: the page only asks whether it may stay
   * @throws {FrameError} that the page is told; with `forbidden` it has to go. {TypeError} for what can't be said
   */
  async renew(ticket: string | undefined, session: Session): Promise<void> {
    const who: Attributes = { user: session.user };
    this.#barrier.begins(who);
    const said = await this.#answer(ticket, session);
    if (said === undefined) throw new FrameError('not-authenticated', 'nobody here knows this ticket');
    if (said.user !== undefined && said.user !== session.user) {
      this.#log('warn', `a page of ${session.user} was sent away: it brought the ticket of another user`, {
        event: 'ticket-of-another',
        user: session.user,
        session: session.id,
      });
      throw new FrameError('forbidden', 'the ticket is of another user');
    }
    if (this.#logins.isOver(said.expires)) throw new FrameError('not-authenticated', 'the login has ended');
    // It may be another login than before, which was ended while it was asked about.
    who.login = said.login ?? session.login;
    const objection = this.#barrier.objection(who, session.device);
    if (objection !== undefined) throw new FrameError('forbidden', objection.reason);
    if (session.phase === 'closed') return;
    // In this very moment: a command that comes later finds it by what it is now.
    if (!Array.isArray(said.topics)) session.renew(said);
    else
      session.renew({
        ...said,
        topics: this.#barrier.topicsLeft(Object.assign(who, { topics: said.topics }))!,
      });
  }

  async #answer(ticket: string | undefined, session: Session): Promise<Attributes | undefined> {
    try {
      return await inTime(this.#limits.answer, this.#first(ticket, session));
    } catch (error) {
      if (error instanceof FrameError) throw error;
      this.#log('error', `an interceptor's \`renew\` failed: ${explainFully(error)}`, {
        event: 'interceptor-failed',
        reason: 'renew',
        error: explain(error),
      });
      throw new FrameError('unavailable', 'try again');
    }
  }

  async #first(ticket: string | undefined, session: Session): Promise<Attributes | undefined> {
    for (const interceptor of this.#rules.interceptors) {
      const answer = await interceptor.renew?.(ticket, session);
      if (answer instanceof Response) throw await refusalOf(answer);
      if (answer == null) continue;
      if (typeof answer !== 'object') throw new TypeError('it answers neither attributes nor a Response');
      return answer;
    }
    return undefined;
  }
}

async function refusalOf(answer: Response): Promise<FrameError> {
  const [reason = ''] = (await answer.text()).split('\n', 1);
  if (answer.status === 403) return new FrameError('forbidden', reason || 'it may not stay');
  if (answer.status === 401 || answer.status === 400) {
    return new FrameError('not-authenticated', reason || 'the ticket is not valid');
  }
  return new FrameError('unavailable', reason || 'try again');
}
