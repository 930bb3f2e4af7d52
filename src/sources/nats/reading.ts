/**
 * Reads a consumer of JetStream in the order of its stream. JetStream itself does not keep that: what somebody had who is gone
 * comes again only after the ack wait, and newer messages come meanwhile. So who begins waits until all that was handed out and
 * not acknowledged is here, and sorts it. Deliveries are numbered: where a number is missing, something went elsewhere, and that
 * is waited for in the same way.
 */
import { clearInterval, monotonicNow, setInterval } from '../../clock.ts';
import { pause } from '../../waiting.ts';
import type { Intake, SourceMessage } from '../driver.ts';
import type { NatsDeadLetters } from './dead.ts';
import { type ConsumerInfo, headersOf, type NatsMessage } from './library.ts';
import type { NatsLink } from './link.ts';

/** Milliseconds for which a request waits for messages. */
const EXPIRES = 30_000;
/** Messages of one request. */
const BATCH = 500;
/** Bytes of headers and the like besides the largest message that the server takes. */
const HEADROOM = 65_536;
/** Milliseconds between two looks at what is still elsewhere. */
const LOOK = 200;
/** For which none of it comes back, although it is due: who has it says that he is working on it. */
const STANDSTILL = 15_000;
/** How many of these looks ask at once for what was given back. */
const EARLY = 3;
/** Of the ack wait: how often the server is told that a message is still being worked on. */
const WORKING = 3;
const NANOS = 1_000_000;

/** A message, and what its reply subject says of it. */
export interface Delivered {
  readonly message: NatsMessage;
  readonly reply: string;
  /** Its place in the stream, and the number of this delivery. */
  readonly sequence: number;
  readonly delivery: number;
  readonly times: number;
  /** When it was stored, in nanoseconds since 1970: more digits than a number has. */
  readonly stamp: string;
}

/** What was said of messages and may not have arrived: said again over the next connection. */
export type Unheard = Map<string, '+ACK' | '-NAK'>;

export interface NatsWay {
  readonly link: NatsLink;
  readonly stream: string;
  readonly consumer: string;
  readonly intake: Intake;
  readonly dead: NatsDeadLetters;
  readonly unheard: Unheard;
}

export class NatsReading {
  readonly #way: NatsWay;
  readonly #link: NatsLink;
  readonly #intake: Intake;
  /** Milliseconds. */
  readonly #ackWait: number;
  /** By sequence: what is being stored. */
  readonly #underWay = new Map<number, Delivered>();
  readonly #settling = new Set<Promise<void>>();
  /** By sequence: what has come and waits for what is before it. */
  readonly #gathered = new Map<number, Delivered>();
  /** Nothing is elsewhere that was handed out: what comes is in order as long as no number is missing. */
  #isOrdered = false;
  /** The number of the last delivery; there from the first time on that all was ordered. */
  #last: number | undefined;
  #pull = new AbortController();
  #isOver = false;

  constructor(way: NatsWay, { config }: ConsumerInfo) {
    this.#way = way;
    this.#link = way.link;
    this.#intake = way.intake;
    this.#ackWait = Math.max(1_000, (config.ack_wait ?? 30_000 * NANOS) / NANOS);
  }

  /** Until `signal` is aborted, and what was taken is settled. @throws {Error} once the link is lost */
  async run(signal: AbortSignal): Promise<void> {
    const end = (): void => this.#pull.abort();
    signal.addEventListener('abort', end);
    const working = setInterval(() => this.#work(), this.#ackWait / WORKING);
    try {
      const { unheard } = this.#way;
      for (const [reply, what] of unheard) this.#link.say(reply, what);
      if (unheard.size > 0) await this.#link.answer(this.#link.connection.flush(), 'a ping');
      unheard.clear();
      await this.#read(signal);
      for (const { reply } of this.#inOrder()) this.#link.say(reply, '-NAK');
      this.#gathered.clear();
      await this.#link.orLost(Promise.all(this.#settling));
    } finally {
      this.#isOver = true;
      clearInterval(working);
      signal.removeEventListener('abort', end);
      for (const { reply } of [...this.#underWay.values(), ...this.#inOrder()])
        this.#way.unheard.set(reply, '-NAK');
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#pull = new AbortController();
      if (!this.#isOrdered) {
        await this.#gather(signal);
        continue;
      }
      const { messages, bytes } = this.#intake.free;
      if (messages <= 0 || bytes <= 0) {
        await this.#link.orLost(this.#intake.room());
        continue;
      }
      const before = this.#last;
      const asked = monotonicNow();
      await this.#ask(Math.min(BATCH, messages), bytes, EXPIRES);
      // It may have been refused at once.
      if (before === this.#last && monotonicNow() - asked < LOOK)
        await this.#link.orLost(pause(LOOK, signal));
      // What was said by now has arrived.
      if (this.#way.unheard.size > 0) {
        const said = [...this.#way.unheard.keys()];
        await this.#link.answer(this.#link.connection.flush(), 'a ping');
        for (const reply of said) this.#way.unheard.delete(reply);
      }
    }
  }

  #ask(messages: number, bytes: number, expires?: number): Promise<void> {
    const { stream, consumer } = this.#way;
    // Of a message that is larger than what is asked for nothing would ever come.
    const least = this.#link.maxPayload + HEADROOM;
    const pull = { stream, consumer, messages, bytes: Math.max(bytes, least) };
    return this.#link.pull(
      expires === undefined ? pull : { ...pull, expires },
      (message) => this.#took(message),
      this.#pull.signal,
    );
  }

  #took(message: NatsMessage): void {
    const delivered = deliveredOf(message);
    if (delivered === undefined) return;
    if (this.#isOrdered && delivered.delivery !== this.#last! + 1) {
      this.#isOrdered = false;
      // There is no use in more of them.
      this.#pull.abort();
    }
    this.#last = delivered.delivery;
    const { sequence } = delivered;
    if (this.#underWay.has(sequence)) this.#underWay.set(sequence, delivered);
    else if (this.#isOrdered) this.#hand(delivered);
    else this.#gathered.set(sequence, delivered);
  }

  /** Waits until everything is here that was handed out and not acknowledged, and goes on with it in order. */
  async #gather(signal: AbortSignal): Promise<void> {
    const { stream, consumer } = this.#way;
    const due = monotonicNow() + this.#ackWait;
    let early = EARLY;
    let fewest = Number.POSITIVE_INFINITY;
    let moved = due;
    while (!signal.aborted) {
      const info = await this.#link.answer(
        this.#link.manager.consumers.info(stream, consumer),
        `the consumer ${consumer}`,
      );
      const missing = info.num_ack_pending - this.#gathered.size - this.#underWay.size;
      if (missing <= 0) {
        this.#last ??= info.delivered.consumer_seq;
        this.#isOrdered = true;
        const gathered = this.#inOrder();
        this.#gathered.clear();
        for (const each of gathered) this.#hand(each);
        return;
      }
      if (missing < fewest) moved = Math.max(due, monotonicNow());
      fewest = Math.min(fewest, missing);
      if (monotonicNow() - moved > STANDSTILL)
        throw new Error(
          `somebody else has ${missing} messages of the consumer ${consumer} and keeps them, so that the order can't be kept: end that`,
        );
      // What was given back is there soon. All else is not before it is due: newer ones would come in its place.
      if (early-- > 0 || monotonicNow() >= due) await this.#ask(missing, this.#intake.prefetchBytes);
      await this.#link.orLost(pause(LOOK, signal));
    }
  }

  #inOrder(): Delivered[] {
    return [...this.#gathered.values()].sort((one, other) => one.sequence - other.sequence);
  }

  #hand(delivered: Delivered): void {
    const { sequence } = delivered;
    this.#underWay.set(sequence, delivered);
    const settling = this.#settle(delivered)
      .catch((error) => this.#link.fail(error))
      .finally(() => this.#settling.delete(settling));
    this.#settling.add(settling);
  }

  async #settle(delivered: Delivered): Promise<void> {
    const { sequence } = delivered;
    const id = `${sequence}-${delivered.stamp}`;
    const outcome = await this.#intake.take(sourceMessage(id, delivered, this.#way.stream));
    if (outcome.what === 'dead') await this.#way.dead.put(delivered.message, id, outcome.reason);
    // It may have come again meanwhile.
    const { reply } = this.#underWay.get(sequence) ?? delivered;
    if (this.#isOver) {
      if (outcome.what !== 'released') this.#way.unheard.set(reply, '+ACK');
      return;
    }
    this.#underWay.delete(sequence);
    if (outcome.what === 'released') {
      this.#link.say(reply, '-NAK');
      return;
    }
    this.#way.unheard.set(reply, '+ACK');
    this.#link.say(reply, outcome.what === 'dead' ? '+TERM' : '+ACK');
  }

  #work(): void {
    for (const { reply } of this.#underWay.values()) this.#link.say(reply, '+WPI');
    for (const { reply } of this.#gathered.values()) this.#link.say(reply, '+WPI');
  }
}

/** Its reply subject has two more fields, and perhaps one behind, on servers that know domains. */
function deliveredOf(message: NatsMessage): Delivered | undefined {
  const fields = (message.reply ?? '').split('.');
  if (fields[0] !== '$JS' || fields[1] !== 'ACK') return undefined;
  const first = fields.length === 9 ? 4 : 6;
  const [times, sequence, delivery] = fields.slice(first, first + 3).map(Number);
  const stamp = fields[first + 3];
  if (times === undefined || sequence === undefined || delivery === undefined || stamp === undefined)
    return undefined;
  return { message, reply: message.reply!, sequence, delivery, times, stamp };
}

function sourceMessage(id: string, delivered: Delivered, stream: string): SourceMessage {
  const { message, sequence, times, stamp } = delivered;
  const found = headersOf(message);
  const headers = Object.fromEntries((found?.keys() ?? []).map((name) => [name, found!.get(name)]));
  return {
    id,
    body: Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength),
    attributes: { subject: message.subject, stream, sequence, redelivered: times > 1, headers },
    time: Number(stamp.slice(0, -6)),
  };
}
