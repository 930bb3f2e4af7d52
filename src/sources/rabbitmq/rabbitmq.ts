/** RabbitMQ: a queue or a stream of it as a source, by AMQP 0.9.1 and the package `amqplib`. */
import { monotonicNow } from '../../clock.ts';
import { pause } from '../../waiting.ts';
import type { Intake, SourceDriver } from '../driver.ts';
import type { SourceKind } from '../kind.ts';
import { filesOf, startOf, urlOf } from '../place.ts';
import { type Amqplib, loadAmqplib } from './amqplib.ts';
import { type DeadPlace, RabbitDeadLetters } from './dead.ts';
import { type Place, RabbitLead } from './lead.ts';
import { RabbitLink } from './link.ts';
import { type QueueWay, type Returns, readQueue } from './queue.ts';
import { StreamReading } from './stream.ts';

/** What a source that is a queue or a stream of RabbitMQ takes besides its URL. */
export interface RabbitSettings {
  /** The queue to read. This, or `stream`. */
  queue?: string;
  /** The stream to read, by its name. */
  stream?: string;
  /**
   * Which of several readers of a stream this is: each has a position of its own. Its queue in RabbitMQ is
   * `STREAM.CONSUMER`, or `QUEUE.CONSUMER`. Default `tidings`.
   */
  consumer?: string;
  /**
   * Where a stream is read from the first time: `first` (default), `next`, what comes from now on, or a time such as
   * `2026-11-26T10:00:00Z`.
   */
  start?: string;
  /**
   * False: all instances read the queue at once. Then only RabbitMQ can keep the order, in a queue that was made with
   * `x-single-active-consumer`. Default true: one instance at a time.
   */
  lead?: boolean;
  /** The queue for what can never be stored; it is made if it is not there. Default `QUEUE.dead`. */
  deadQueue?: string;
  /** In place of a queue: the exchange for it, which has to be there. */
  deadExchange?: string;
  /** Routing key for that exchange. Default: the message's own. */
  deadKey?: string;
  /**
   * True: such messages are rejected, and RabbitMQ puts them where the queue's own `x-dead-letter-exchange` says, without
   * a reason. It throws them away where the queue has none. Default false.
   */
  reject?: boolean;
  /** File in PEM for TLS (amqps): the authorities to trust. */
  ca?: string;
  /** File in PEM: a certificate of one's own. */
  cert?: string;
  /** File in PEM: the key of that certificate. */
  key?: string;
}

export const rabbitmq: SourceKind = {
  schemes: ['amqp', 'amqps'],
  settings: {
    queue: 'text',
    stream: 'text',
    consumer: 'text',
    start: 'text',
    lead: 'flag',
    deadQueue: 'text',
    deadExchange: 'text',
    deadKey: 'text',
    reject: 'flag',
    ca: 'text',
    cert: 'text',
    key: 'text',
  },
  make: (url, settings) => new RabbitDriver(url, settings as RabbitSettings),
};

/** Seconds: how soon a connection over which nothing comes counts as lost. The server's own would be a minute. */
const HEARTBEAT = 10;
/** Milliseconds in which the reader before this one has to be gone. */
const HANDING_OVER = 3_000;
/** Milliseconds. */
const LOOK_AGAIN = 100;
const NAME = /^[^\u0000-\u001f\u007f]{1,255}$/;
/** Bytes. */
const MAX_NAME = 255;

class RabbitDriver implements SourceDriver {
  readonly kind = 'rabbitmq';
  readonly name: string;
  readonly scope: string;
  readonly #url: string;
  readonly #settings: RabbitSettings;
  readonly #queue: string;
  readonly #start: 'first' | 'next' | number;
  /** How far this process has come with the stream. */
  #known: Place | undefined;
  readonly #returns: Returns = { told: 0 };

  constructor(given: string, settings: RabbitSettings) {
    const { queue, stream } = settings;
    const url = urlOf(given, 'amqp://USER:PASSWORD@HOST:PORT/VHOST?queue=NAME');
    for (const [name, value] of Object.entries(settings)) {
      if (typeof value === 'string' && !NAME.test(value))
        throw new TypeError(`${name} of a source is 1 to 255 characters without control characters`);
    }
    if ((queue === undefined) === (stream === undefined))
      throw new TypeError(
        'a source at RabbitMQ is either a queue or a stream: …?queue=NAME or …?stream=NAME',
      );
    if (stream !== undefined && (settings.reject || settings.lead === false))
      throw new TypeError('reject and lead=false are for queues, not for streams');
    if (queue !== undefined && settings.start !== undefined) throw new TypeError('start is for streams');
    if (settings.reject && (settings.deadQueue ?? settings.deadExchange) !== undefined)
      throw new TypeError(
        'reject leaves it to RabbitMQ where messages go: deadQueue and deadExchange say something else',
      );
    if (settings.deadQueue !== undefined && settings.deadExchange !== undefined)
      throw new TypeError('one of deadQueue and deadExchange');
    this.#start = startOf(settings.start);
    this.#settings = settings;
    this.#queue = queue ?? stream!;
    const { queue: dead = '' } = this.#deadPlace() as { queue?: string };
    for (const name of [`${this.#queue}.${this.#consumer}`, dead])
      if (Buffer.byteLength(name) > MAX_NAME)
        throw new TypeError(
          `the queue ${name.slice(0, 64)}… would have a name of more than ${MAX_NAME} bytes`,
        );
    if (!url.searchParams.has('heartbeat')) url.searchParams.set('heartbeat', String(HEARTBEAT));
    this.#url = url.href;
    const host = decodeURIComponent(url.pathname.slice(1)) || '/';
    const port = url.port || (url.protocol === 'amqps:' ? '5671' : '5672');
    this.name = `${queue === undefined ? 'stream' : 'queue'} ${this.#queue} at ${url.hostname}:${port}`;
    this.scope = `rabbitmq:${host}:${this.#queue}${stream === undefined ? '' : `:${this.#consumer}`}`;
  }

  get #consumer(): string {
    return this.#settings.consumer ?? 'tidings';
  }

  async run(intake: Intake, signal: AbortSignal): Promise<void> {
    const amqplib = await loadAmqplib();
    const reading = await this.#open(amqplib, 'read');
    try {
      // RabbitMQ may stop to listen to who publishes: acknowledgements have to get through all the same.
      const writing = await this.#open(amqplib, 'write');
      try {
        writing.orLost(new Promise(() => {})).catch((error) => reading.fail(error));
        await this.#work(reading, writing, intake, signal);
      } finally {
        await writing.close();
      }
    } finally {
      await reading.close();
    }
  }

  async #open(amqplib: Amqplib, purpose: string): Promise<RabbitLink> {
    const { ca, cert, key } = this.#settings;
    return RabbitLink.open(amqplib, this.#url, {
      ...(await filesOf({ ca, cert, key })),
      clientProperties: { connection_name: `tidings: ${purpose} ${this.#queue}` },
    });
  }

  async #work(reading: RabbitLink, writing: RabbitLink, intake: Intake, signal: AbortSignal): Promise<void> {
    const { stream } = this.#settings;
    const queue = this.#queue;
    if ((await reading.queue(queue)) === undefined)
      throw new Error(`RabbitMQ has no ${stream === undefined ? 'queue' : 'stream'} ${queue}`);
    const writer = await writing.channel();
    intake.connected();
    const letters = new RabbitDeadLetters(writing, this.#deadPlace(), queue);
    const way = {
      link: reading,
      queue,
      intake,
      dead: this.#settings.reject ? undefined : letters,
      letters,
      returns: this.#returns,
    };
    if (this.#settings.lead === false) return readQueue({ ...way, isAlone: false }, signal);
    const lead = await RabbitLead.enter(reading, writing, writer, `${queue}.${this.#consumer}`, this.#known);
    try {
      await this.#lead(lead, way, writing, signal);
    } finally {
      lead.leave();
    }
  }

  /** Reads while it leads. */
  async #lead(
    lead: RabbitLead,
    way: Omit<QueueWay, 'isAlone'> & { readonly letters: RabbitDeadLetters },
    writing: RabbitLink,
    signal: AbortSignal,
  ): Promise<void> {
    const { link: reading, queue, intake, letters } = way;
    const waiting = new AbortController();
    const end = aborted(signal, waiting.signal);
    const place = await reading.orLost(Promise.race([lead.gained, end])).finally(() => waiting.abort());
    if (place === undefined) return;
    if (this.#settings.stream === undefined) {
      await untilAlone(reading, queue, signal);
      if (!signal.aborted) await readQueue({ ...way, isAlone: true }, signal);
      return;
    }
    const start = await this.#begun(place, lead, writing);
    const streaming = new StreamReading(reading, writing, queue, intake, letters, lead, start);
    try {
      await streaming.run(signal);
    } finally {
      this.#known = streaming.place;
    }
  }

  /** From where a stream is read that nobody has read yet: from then on that is so, whenever its first message comes. */
  async #begun(place: Place, lead: RabbitLead, writing: RabbitLink): Promise<Place> {
    const start = this.#start;
    if (start === 'first' || place.generation > 0 || (place.offset ?? place.since) !== undefined)
      return place;
    const begun: Place = { ...place, since: start === 'next' ? Date.now() : start };
    await writing.answer(lead.save(begun), 'from where a stream is read');
    return begun;
  }

  #deadPlace(): DeadPlace {
    const { deadQueue, deadExchange, deadKey } = this.#settings;
    if (deadExchange === undefined) return { queue: deadQueue ?? `${this.#queue}.dead` };
    return { exchange: deadExchange, ...(deadKey !== undefined && { routingKey: deadKey }) };
  }
}

/**
 * Waits until the reader before this one is gone, and what it has not acknowledged is back in its place.
 *
 * @throws {Error} where somebody else reads the queue
 */
async function untilAlone(link: RabbitLink, queue: string, signal: AbortSignal): Promise<void> {
  const deadline = monotonicNow() + HANDING_OVER;
  while (!signal.aborted) {
    const found = await link.queue(queue);
    if (found === undefined) throw new Error(`RabbitMQ has no queue ${queue}`);
    if (found.consumerCount === 0) return;
    if (monotonicNow() > deadline) {
      throw new Error(
        `somebody else reads the queue ${queue}, so that the order can't be kept: end that, or set lead=false`,
      );
    }
    await pause(LOOK_AGAIN, signal);
  }
}

/** @param until aborted: nobody waits any more, which `signal`, which lives longer than a connection, need not remember */
function aborted(signal: AbortSignal, until: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { signal: until });
  });
}
