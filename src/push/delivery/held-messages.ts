/** Live messages that wait while their channel finds its place in the log. More than that are dropped: the log has them. */
import type { StoredMessage } from '../../pubsub/store/broker.ts';

const MAX_HELD = 256;
const MAX_HELD_BYTES = 1024 * 1024;

export class HeldMessages {
  readonly #messages: StoredMessage[] = [];
  #bytes = 0;
  #before = 0;

  get messages(): readonly StoredMessage[] {
    return this.#messages;
  }

  /** How many of them came before the log was asked. */
  get before(): number {
    return this.#before;
  }

  /** The log is asked now. */
  asked(): void {
    this.#before = this.#messages.length;
  }

  /** The newest are kept: the top, which is read later, is nearer to them. */
  add(message: StoredMessage): void {
    this.#messages.push(message);
    this.#bytes += message.payload.length;
    if (this.#messages.length <= MAX_HELD && this.#bytes <= MAX_HELD_BYTES) return;
    this.#before = 0;
    for (const old of this.#messages.splice(0, Math.ceil(this.#messages.length / 2))) {
      this.#bytes -= old.payload.length;
    }
  }
}
