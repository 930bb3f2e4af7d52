/**
 * Reads a stream, in which messages stay and have offsets: from behind the last one that was dealt with. RabbitMQ does not keep
 * that place for readers by AMQP 0.9.1: it is saved in the queue that says who leads.
 */
import { createHash } from 'node:crypto';
import { clearTimeout, setTimeout } from '../../clock.ts';
import { Queue } from '../../queue.ts';
import { pause, within } from '../../waiting.ts';
import type { Intake } from '../driver.ts';
import type { RabbitDeadLetters } from './dead.ts';
import type { Place, RabbitLead } from './lead.ts';
import type { RabbitLink } from './link.ts';
import { nameOf, sourceMessage } from './message.ts';
import { type Delivery, RabbitReader } from './reader.ts';

/** Milliseconds between two saved places. What is behind the last one is read again, and found stored. */
const SAVE_EVERY = 1_000;
/** Milliseconds for the last one. */
const LAST_SAVE = 1_000;
/** Milliseconds in which the last message that was dealt with has to come, as it is still there. */
const EXPECTED = 3_000;
/** Milliseconds without another message after which the newest one has come. */
const QUIET = 500;
/** Messages that are read at once to find the newest one. */
const LOOK = 1_000;
const DIGEST = 12;

interface Read {
  readonly offset: number;
  readonly digest: string;
  isDone: boolean;
}

export class StreamReading {
  /** How far it was read and dealt with. */
  place: Place;
  readonly #reading: RabbitLink;
  readonly #writing: RabbitLink;
  readonly #stream: string;
  readonly #intake: Intake;
  readonly #dead: RabbitDeadLetters;
  readonly #lead: RabbitLead;
  readonly #underWay = new Set<Promise<void>>();
  /** In the order of the stream. */
  #reads = new Queue<Read>();
  #saved: Place;
  /** The offset of the last message that has come. */
  #last: number | undefined;
  /** The last message that was dealt with has come again, or need not. */
  #isVerified: boolean;
  #reader!: RabbitReader;

  constructor(
    reading: RabbitLink,
    writing: RabbitLink,
    stream: string,
    intake: Intake,
    dead: RabbitDeadLetters,
    lead: RabbitLead,
    place: Place,
  ) {
    this.#reading = reading;
    this.#writing = writing;
    this.#stream = stream;
    this.#intake = intake;
    this.#dead = dead;
    this.#lead = lead;
    this.place = place;
    this.#saved = place;
    this.#isVerified = place.offset === undefined;
  }

  /** Until `signal` is aborted, and what was taken is settled. @throws {Error} once the link is lost */
  async run(signal: AbortSignal): Promise<void> {
    this.#reader = new RabbitReader(this.#reading, this.#stream, this.#intake, true, {
      args: () => ({ 'x-stream-offset': this.#from() }),
      message: (delivery) => this.#took(delivery),
    });
    const saving = new AbortController();
    const late = this.#isVerified ? undefined : setTimeout(() => this.#lookAtNewest(), EXPECTED);
    const saved = this.#saves(saving.signal).catch((error) => this.#reading.fail(error as Error));
    try {
      await this.#reader.read(signal);
      await this.#reading.orLost(Promise.all(this.#underWay));
    } finally {
      clearTimeout(late);
      saving.abort();
    }
    await within(LAST_SAVE, saved);
  }

  #from(): unknown {
    if (this.#last !== undefined) return { '!': 'int64', value: this.#last + 1 };
    const { offset, since } = this.place;
    // With the last one that was dealt with: whether it is still the same says whether the stream is.
    if (offset !== undefined) return { '!': 'int64', value: offset };
    return since === undefined ? 'first' : { '!': 'timestamp', value: Math.floor(since / 1000) };
  }

  #took(delivery: Delivery): void {
    const { message } = delivery;
    const offset = Number(message.properties.headers?.['x-stream-offset']);
    const digest = createHash('sha256').update(message.content).digest('base64url').slice(0, DIGEST);
    if (!this.#isVerified && !this.#verify(offset, digest)) {
      delivery.ack();
      return;
    }
    this.#last = offset;
    const read: Read = { offset, digest, isDone: false };
    this.#reads.add(read);
    const reads = this.#reads;
    // A sender that had no answer sends a message again: as another one of the stream, with the same name.
    const settling = this.#settle(delivery, nameOf(message) ?? `${offset}-${digest}`)
      .then((isDone) => {
        read.isDone = isDone;
        if (reads === this.#reads) this.#advance();
      })
      .catch((error) => this.#reading.fail(error as Error))
      .finally(() => this.#underWay.delete(settling));
    this.#underWay.add(settling);
  }

  /** Whether a message is a new one, where the first to come should be the last that was dealt with. */
  #verify(offset: number, digest: string): boolean {
    const expected = this.place;
    if (offset < expected.offset!) return false;
    if (offset === expected.offset) {
      if (digest !== expected.digest) {
        this.#beginAnew();
        return false;
      }
      this.#isVerified = true;
      this.#last = offset;
      return false;
    }
    this.#isVerified = true;
    if (offset > expected.offset! + 1) {
      this.#intake.missed(
        `the stream has no messages any more from ${expected.offset! + 1} to ${offset - 1}, which were not read`,
      );
    }
    return true;
  }

  /** The stream was deleted and made again, so that its offsets are those of other messages. */
  #beginAnew(): void {
    this.#intake.missed('the stream is another one than before, and is read from its beginning');
    this.place = { generation: this.place.generation + 1 };
    this.#isVerified = true;
    this.#last = undefined;
    this.#reads = new Queue();
    this.#reader.restart();
  }

  async #settle({ message, ack }: Delivery, id: string): Promise<boolean> {
    const outcome = await this.#intake.take(sourceMessage(id, message));
    if (outcome.what === 'released') return false;
    if (outcome.what === 'dead') await this.#dead.put(message, outcome.reason);
    // Nothing is taken out of a stream: this makes room for the next one.
    ack();
    return true;
  }

  #advance(): void {
    const { generation } = this.place;
    for (let read = this.#reads.first; read?.isDone; read = this.#reads.first) {
      this.#reads.take();
      this.place = { generation, offset: read.offset, digest: read.digest };
    }
  }

  /** Rejects when the place can't be saved. */
  async #saves(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(SAVE_EVERY, signal);
      const { place } = this;
      if (place === this.#saved) continue;
      // It may take as long as RabbitMQ takes nothing from who publishes.
      await this.#writing.orLost(this.#lead.save(place));
      this.#saved = place;
    }
  }

  /** The message that was last dealt with does not come: is the stream shorter now than it was? */
  #lookAtNewest(): void {
    if (this.#isVerified) return;
    this.#newest().then(
      (newest) => {
        if (this.#isVerified) return;
        if (newest === undefined || newest < this.place.offset!) this.#beginAnew();
        else this.#reading.fail(new Error(`RabbitMQ hands out nothing of the stream ${this.#stream}`));
      },
      (error) => this.#reading.fail(error as Error),
    );
  }

  /** The offset of the newest message; undefined where there is none. */
  async #newest(): Promise<number | undefined> {
    return this.#reading.attempt(`the newest message of ${this.#stream}`, async (channel) => {
      let newest: number | undefined;
      let heard = true;
      await channel.prefetch(LOOK);
      await channel.consume(
        this.#stream,
        (message) => {
          if (message === null) return;
          heard = true;
          newest = Number(message.properties.headers?.['x-stream-offset']);
          channel.ack(message);
        },
        { arguments: { 'x-stream-offset': 'last' } },
      );
      while (heard) {
        heard = false;
        await pause(QUIET);
      }
      return newest;
    });
  }
}
