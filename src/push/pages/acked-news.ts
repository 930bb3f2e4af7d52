/**
 * Tells a user's pages what was acknowledged: the page that has done it knows, and is told with the next frame that it
 * is sent, or within a second; all others at once.
 */
import { clearInterval, setInterval } from '../../clock.ts';
import type { Cursor } from '../../pubsub/store/broker.ts';
import { encodeFrame } from '../delivery/outgoing.ts';
import { isInbox, userOf } from '../talk/names.ts';
import { INBOX } from '../talk/wire.ts';
import type { SessionRegistry } from './registry.ts';
import type { Session } from './session.ts';

/** The second is cut up, so that not all are told in one moment. */
const SLOTS = 8;
const SLOT = 1000 / SLOTS;

export class AckedNews {
  readonly #registry: SessionRegistry;
  /** Who is owed something: by slot number `i` in array `i % SLOTS`. A page may be in several, and is paid in one. */
  readonly #owing: Session[][] = Array.from({ length: SLOTS }, () => []);
  /** The next one. */
  #slot = 0;
  #count = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(registry: SessionRegistry) {
    this.#registry = registry;
  }

  tell({ channel, device, position }: Cursor): void {
    if (!isInbox(channel)) return;
    let frame: string | undefined;
    for (const session of this.#registry.of(userOf(channel))) {
      if (!session.isTidings || session.phase !== 'open') continue;
      frame ??= encodeFrame({ type: 'acked', channel: INBOX, device, position });
      if (session.device !== device || session.acknowledged < position.offset) session.write(frame);
      else this.#owe(session, frame);
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #owe(session: Session, frame: string): void {
    const slot = this.#slot + SLOTS - 1;
    if (!session.owe(frame, slot)) return;
    this.#owing[slot % SLOTS]!.push(session);
    this.#count++;
    this.#timer ??= setInterval(() => this.#pay(), SLOT).unref();
  }

  #pay(): void {
    const slot = this.#slot++;
    const due = this.#owing[slot % SLOTS]!;
    this.#owing[slot % SLOTS] = [];
    this.#count -= due.length;
    for (const session of due) session.pay(slot);
    if (this.#count > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
