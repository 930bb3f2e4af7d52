/**
 * One instance at a time reads a consumer, so that the order is kept: which one they settle among themselves, by a subject. Who
 * leads says so every second. Who hears nothing of that for three begins to lead; of two the one with the smaller name stays.
 * Were two to lead for a moment, the order would still be kept: who reads sees by the numbers of deliveries that something went
 * elsewhere, and waits for that (reading.ts).
 */
import { randomUUID } from 'node:crypto';
import { clearInterval, monotonicNow, setInterval } from '../../clock.ts';
import { pause } from '../../waiting.ts';
import type { NatsSubscription } from './library.ts';
import type { NatsLink } from './link.ts';

/** Milliseconds. */
const BEAT = 1_000;
const SILENCE = 3_500;
/** For an answer to the question who leads, and for an objection. */
const ANSWER = 300;
const OBJECTION = 200;
const LOOK = 100;

type Word = 'asks' | 'leads' | 'leaves';

export class NatsLead {
  readonly #link: NatsLink;
  readonly #subject: string;
  readonly #id = randomUUID();
  readonly #subscription: NatsSubscription;
  readonly #beat: NodeJS.Timeout;
  /** When another one said that it leads. */
  #heard = Number.NEGATIVE_INFINITY;
  #term: AbortController | undefined;
  #isWanting = false;
  #hasObjection = false;

  constructor(link: NatsLink, subject: string) {
    this.#link = link;
    this.#subject = subject;
    this.#subscription = link.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) link.fail(error);
        else this.#hear(Buffer.from(message.data).toString());
      },
    });
    this.#beat = setInterval(() => {
      if (this.#term !== undefined) this.#say('leads');
    }, BEAT);
  }

  /**
   * Waits until this one leads.
   *
   * @returns what is aborted once it no longer leads; undefined where `signal` was aborted before
   */
  async gain(signal: AbortSignal): Promise<AbortSignal | undefined> {
    this.#say('asks');
    await this.#link.orLost(pause(ANSWER, signal));
    while (!signal.aborted) {
      if (monotonicNow() - this.#heard < SILENCE) {
        await this.#link.orLost(pause(LOOK, signal));
        continue;
      }
      this.#isWanting = true;
      this.#hasObjection = false;
      this.#say('leads');
      await this.#link.orLost(pause(OBJECTION, signal));
      this.#isWanting = false;
      if (signal.aborted || this.#hasObjection) continue;
      this.#term = new AbortController();
      return this.#term.signal;
    }
    return undefined;
  }

  /** Leads no more, and says so. */
  leave(): void {
    clearInterval(this.#beat);
    if (this.#term !== undefined) this.#say('leaves');
    this.#term = undefined;
    try {
      this.#subscription.unsubscribe();
    } catch {
      // The connection is closed.
    }
  }

  #hear(text: string): void {
    const [word, id = ''] = text.split(' ') as [Word, string?];
    if (id === this.#id) return;
    if (word === 'asks') {
      if (this.#term !== undefined) this.#say('leads');
      return;
    }
    if (word === 'leaves') {
      this.#heard = Number.NEGATIVE_INFINITY;
      return;
    }
    if (word !== 'leads') return;
    const isMine = this.#term !== undefined || this.#isWanting;
    // Who leads already stays, unless the other does as well.
    if (isMine && this.#id < id) {
      this.#say('leads');
      return;
    }
    this.#heard = monotonicNow();
    this.#hasObjection = true;
    this.#term?.abort();
    this.#term = undefined;
  }

  #say(word: Word): void {
    try {
      this.#link.connection.publish(this.#subject, `${word} ${this.#id}`);
    } catch (error) {
      this.#link.fail(error);
    }
  }
}
