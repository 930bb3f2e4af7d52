/** What a page does with its inbox: it marks messages, and looks at those from before. */

import { type Mark, type Marked, TooManyRangesError } from '../../pubsub/store/marks.ts';
import { Turns } from '../../waiting.ts';
import { wirePosition } from '../delivery/outgoing.ts';
import type { Pacer } from '../delivery/pacer.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import { type History, historyOf, LostPositionError } from '../inbox/history.ts';
import type { Session } from '../pages/session.ts';
import { FrameError, refOf } from './frames.ts';
import { historyQueryOf, markOf } from './inbox-frames.ts';
import { inboxOf } from './names.ts';
import { INBOX } from './wire.ts';

export interface InboxTalkHost {
  readonly router: ChannelRouter;
  readonly pacer: Pacer;
}

export class InboxTalk {
  readonly #router: ChannelRouter;
  readonly #pacer: Pacer;
  /** Of those whose marks are being made. */
  readonly #turns = new Map<string, { turns: Turns; count: number }>();

  constructor({ router, pacer }: InboxTalkHost) {
    this.#router = router;
    this.#pacer = pacer;
  }

  /** @throws {FrameError}, or what the store has to say */
  async mark(session: Session, frame: Record<string, unknown>): Promise<void> {
    const ref = refOf(frame['ref']);
    const mark = markOf(frame);
    const { changed, marks } = await this.#inTurn(session, mark);
    this.#checkLease();
    const answer = { type: 'marked', changed, version: wirePosition(marks.version) } as const;
    session.sendFrame(ref === undefined ? answer : { ...answer, ref });
  }

  /** @throws {FrameError}, or what the store has to say */
  async history(session: Session, frame: Record<string, unknown>): Promise<void> {
    const ref = refOf(frame['ref']);
    const query = historyQueryOf(frame);
    this.#checkStore();
    // Who asks for much and reads slowly waits, and is not closed for it.
    if (session.bufferedAmount >= session.busy) await this.#pacer.wait(session.transport, session.busy / 2);
    if (session.isDismissed) return;
    const history = await historyOf(this.#router, inboxOf(session.user), query).catch(refused);
    const text = encodeHistory(history, ref);
    this.#checkLease();
    session.write(text);
  }

  /** One mark of a user at a time, from however many pages: one with thousands of ranges costs the store much. */
  async #inTurn(session: Session, mark: Mark): Promise<Marked & { changed: number }> {
    const channel = inboxOf(session.user);
    const turn = this.#turns.get(channel) ?? { turns: new Turns(1), count: 0 };
    this.#turns.set(channel, turn);
    turn.count++;
    try {
      return await turn.turns.run(() => {
        this.#checkStore();
        // Nothing that it has sent is obeyed any more.
        if (session.isDismissed) throw new FrameError('forbidden', 'the session has ended', INBOX);
        return this.#router.mark(channel, mark).catch(refused);
      });
    } finally {
      if (--turn.count === 0) this.#turns.delete(channel);
    }
  }

  /** Who asks a store that is away is told at once: a hundred marks would wait a hundred times for its return. */
  #checkStore(): void {
    if (this.#router.isAway) throw new FrameError('unavailable', 'the store is away: try again', INBOX);
  }

  /** What is in the store is for nobody who may have been sent away elsewhere. */
  #checkLease(): void {
    if (!this.#router.mayDeliver()) throw new FrameError('unavailable', 'try again', INBOX);
  }
}

/** What the page asks for can't be done: nothing has gone wrong here, and nobody else is told. */
function refused(error: unknown): never {
  const isRefusal = error instanceof TooManyRangesError || error instanceof LostPositionError;
  throw isRefusal ? new FrameError('rejected', error.message, INBOX) : error;
}

function encodeHistory({ messages, before, counts }: History, ref: string | undefined): string {
  const list = messages.map(
    ({ message, state, isArchived }) =>
      `{${message.body},"state":"${state}"${isArchived ? ',"archived":true' : ''}}`,
  );
  return (
    `{"type":"history",${ref === undefined ? '' : `"ref":${JSON.stringify(ref)},`}"messages":[${list.join(',')}],` +
    `${before === undefined ? '' : `"before":${JSON.stringify(before)},`}"counts":${JSON.stringify(counts)}}`
  );
}
