/** Where messages go that can never be stored: to a subject that is a stream's, with the reason in a header. */
import { headersOf, type NatsMessage } from './library.ts';
import type { NatsLink } from './link.ts';

/** Milliseconds. */
const ANSWER = 10_000;
/** Bytes: for headers of our own, at most; and what a header has besides its name and value. */
const OWN = 16_384;
const BETWEEN = 4;

export class NatsDeadLetters {
  readonly #link: NatsLink;
  readonly #subject: string;
  readonly #stream: string;
  readonly #made: string | undefined;
  #isThere: Promise<unknown> | undefined;

  /**
   * @param stream that the messages come from
   * @param made the stream that is made for the subject, if there is none
   */
  constructor(link: NatsLink, subject: string, stream: string, made: string | undefined) {
    this.#link = link;
    this.#subject = subject;
    this.#stream = stream;
    this.#made = made;
  }

  /** Resolves when a stream has it. @throws {Error} where that can't be */
  async put(message: NatsMessage, id: string, reason: string): Promise<void> {
    if (this.#made !== undefined) {
      this.#isThere ??= this.#make(this.#made);
      await this.#isThere;
    }
    const headers = this.#link.library.transport.headers();
    let size = message.data.length + OWN;
    const own = headersOf(message);
    for (const name of own?.keys() ?? []) {
      // What they have of JetStream is about the other stream.
      if (/^nats-/i.test(name)) continue;
      for (const value of own!.values(name)) {
        headers.append(name, value);
        size += Buffer.byteLength(name) + Buffer.byteLength(value) + BETWEEN;
      }
    }
    let { data } = message;
    const most = this.#link.maxPayload;
    if (size > most) {
      // Of what is as large as it may be, the end makes room for the reason.
      for (const name of headers.keys()) headers.delete(name);
      headers.set('Tidings-Bytes', String(data.length));
      data = data.subarray(0, Math.max(0, most - OWN));
    }
    headers.set('Tidings-Reason', printable(reason));
    headers.set('Tidings-Stream', this.#stream);
    headers.set('Tidings-Subject', message.subject);
    headers.set('Tidings-Id', id);
    try {
      await this.#link.orLost(
        this.#link.jetstream.publish(this.#subject, data, {
          headers,
          msgID: `${this.#stream}:${id}`,
          timeout: ANSWER,
        }),
      );
    } catch (error) {
      throw new Error(`a dead letter to ${this.#subject} fails: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async #make(name: string): Promise<void> {
    const { streams } = this.#link.manager;
    try {
      await this.#link.answer(streams.info(name), `the stream ${name}`);
    } catch {
      // It is not there. Whatever else it is, this fails, too, and says why.
      await this.#link.answer(streams.add({ name, subjects: [this.#subject] }), `making the stream ${name}`);
    }
  }
}

/** Headers end with the line. */
function printable(reason: string): string {
  return reason.replace(/[\u0000-\u001f\u007f]/g, ' ');
}
