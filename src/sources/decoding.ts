/** What a message of a driver asks to be sent: as the application's `map` says, or as the form of the message does. */
import { explain } from '../push/explain.ts';
import type { Limits } from '../push/options.ts';
import { inTime, TimeoutError } from '../waiting.ts';
import { MessageError, type Sending, type SourceDriver, type SourceMessage } from './driver.ts';
import { checkedSending, decodeBody } from './format.ts';
import type { EngineSettings } from './options.ts';

/** Bytes that the users of a message may take besides its data, as in the admin API. */
const USERS_BYTES = 2 * 1024 * 1024;

export class Decoding {
  readonly #driver: SourceDriver;
  readonly #settings: EngineSettings;
  readonly #limits: Readonly<Limits>;

  constructor(driver: SourceDriver, settings: EngineSettings, limits: Readonly<Limits>) {
    this.#driver = driver;
    this.#settings = settings;
    this.#limits = limits;
  }

  /** Bytes. What is longer is no message. */
  get maxBody(): number {
    return this.#limits.message + USERS_BYTES;
  }

  /** @throws {MessageError} for what can never be sent */
  async decode(message: SourceMessage): Promise<readonly Sending[]> {
    const { map } = this.#settings;
    if (map !== undefined) return this.#mapped(map, message);
    const most = this.maxBody;
    const { length } = message.body;
    // Nobody else has a turn while it is read.
    if (length > most) throw new MessageError(`the message has ${length} bytes, and may have ${most}`);
    return [this.#driver.decode?.(message) ?? decodeBody(message.body)];
  }

  /** @throws {MessageError} for whatever the application does */
  async #mapped(
    map: NonNullable<EngineSettings['map']>,
    message: SourceMessage,
  ): Promise<readonly Sending[]> {
    const { mapTimeout } = this.#settings;
    try {
      const given = map(message);
      // Waiting costs a timer.
      if (typeof (given as PromiseLike<unknown> | undefined)?.then !== 'function') return sendingsOf(given);
      // Nothing comes between its answer and that this is read.
      return await inTime(mapTimeout, Promise.resolve(given).then(sendingsOf));
    } catch (error) {
      if (error instanceof MessageError) throw error;
      const why = error instanceof TimeoutError ? 'gave no answer' : 'threw';
      throw new MessageError(`map ${why}: ${explain(error)}`, { cause: error });
    }
  }
}

/** What `map` has given. @throws {MessageError} */
function sendingsOf(given: unknown): readonly Sending[] {
  if (given === undefined || given === null) return [];
  return (Array.isArray(given) ? given : [given]).map(checkedSending);
}
