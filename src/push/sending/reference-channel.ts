/**
 * The channel on which other programs say bare keys (`PUBLISH <prefix>:mail 42`). Every instance hears
 * them, and all of them store the reference in its user's inbox under one idempotency key: it is there once.
 */
import { isUtf8 } from 'node:buffer';
import type { Log } from '../../log-fields.ts';
import type { Receipt } from '../../pubsub/store/broker.ts';
import type { References } from '../delivery/references.ts';
import type { Doorbell } from '../delivery/router.ts';
import { explain, printable } from '../explain.ts';
import { referenceProblem } from '../talk/names.ts';
import type { Publisher } from './publisher.ts';

/** Keys that are being looked up or stored. More are refused: a publisher that floods must not fill the memory. */
const MAX_UNDER_WAY = 10_000;
const STORE_ATTEMPTS = 8;

export class ReferenceChannel {
  readonly #references: References;
  readonly #publisher: Publisher;
  readonly #pause: (attempt: number) => Promise<void>;
  readonly #log: Log;
  #underWay = 0;

  constructor(
    references: References,
    publisher: Publisher,
    pause: (attempt: number) => Promise<void>,
    log: Log,
  ) {
    this.#references = references;
    this.#publisher = publisher;
    this.#pause = pause;
    this.#log = log;
  }

  /** Where other programs say keys. */
  doorbell(channel: string): Doorbell {
    const heard = (payload: Buffer): void => {
      this.store(channel, keyOf(payload)).catch((error) => {
        this.#log('error', `a reference on ${channel} was not stored: ${explain(error)}`, {
          event: 'reference-lost',
          channel,
          error: explain(error),
        });
      });
    };
    return { channel, heard };
  }

  /** @throws {Error} if it can't be resolved or stored; trying again stores it at most once */
  async store(channel: string, key: string): Promise<Receipt> {
    const problem = referenceProblem(key);
    if (problem !== undefined) throw new TypeError(problem);
    if (this.#underWay >= MAX_UNDER_WAY) throw new Error(`${MAX_UNDER_WAY} references are under way already`);
    this.#underWay++;
    try {
      const resolved = await this.#references.load(key);
      if (resolved === undefined) throw new Error(`${channel} ${printable(key)} could not be resolved`);
      const idempotencyKey = `${channel}:${key}`;
      for (let attempt = 0; ; attempt++) {
        try {
          return await this.#publisher.sendReference(resolved.user, key, { idempotencyKey });
        } catch (error) {
          if (attempt === STORE_ATTEMPTS || error instanceof TypeError || error instanceof RangeError)
            throw error;
          await this.#pause(attempt);
        }
      }
    } finally {
      this.#underWay--;
    }
  }
}

/** The key in a payload: text as it is, or a JSON string or number. Empty for what is not text. */
function keyOf(payload: Buffer): string {
  if (!isUtf8(payload)) return '';
  const text = payload.toString().trim();
  if (!text.startsWith('"')) return text;
  try {
    return String(JSON.parse(text));
  } catch {
    // A bare key that only begins like JSON.
    return text;
  }
}
