/** NATS JetStream: a stream of it as a source, by a durable pull consumer and the packages of NATS. */
import { isIP } from 'node:net';
import { type Intake, type SourceDriver, SourceSetupError } from '../driver.ts';
import type { SourceKind } from '../kind.ts';
import { filesOf, startOf, urlOf } from '../place.ts';
import { NatsDeadLetters } from './dead.ts';
import { greeted } from './greeting.ts';
import { NatsLead } from './lead.ts';
import { type ConsumerInfo, loadNats, type StreamInfo } from './library.ts';
import { CONNECTING, NatsLink } from './link.ts';
import { NatsReading, type Unheard } from './reading.ts';

/** What a source that is a stream of NATS JetStream takes besides its URL. */
export interface NatsSettings {
  /** The stream to read. */
  stream?: string;
  /** Of the messages of the stream only those of this subject, which may have wildcards. Default: all. */
  subject?: string;
  /** The durable consumer; it is made if it is not there. Default `tidings`. */
  consumer?: string;
  /**
   * Where a consumer begins that is made: `first` (default), `next`, what comes from now on, or a time such as
   * `2026-11-26T10:00:00Z`.
   */
  start?: string;
  /** Milliseconds after which a message comes again whose reader is gone; of a consumer that is made. Default 10,000. */
  ackWait?: number;
  /**
   * False: there is one instance only, and it does not ask others. Default true: of all instances one reads at a time, which
   * they settle by the subject `tidings.lead.STREAM.CONSUMER`.
   */
  lead?: boolean;
  /**
   * The subject for what can never be stored, which has to be one of a stream. Default `tidings.dead.STREAM`, for which
   * the stream `STREAM_dead` is made if it is not there.
   */
  deadSubject?: string;
  /** The domain of JetStream. */
  domain?: string;
  /** A file with a user's credentials (`.creds`). */
  creds?: string;
  /** Files in PEM for TLS: of the authorities to trust, and of a certificate of one's own and its key. */
  ca?: string;
  cert?: string;
  key?: string;
}

export const nats: SourceKind = {
  schemes: ['nats', 'tls'],
  settings: {
    stream: 'text',
    subject: 'text',
    consumer: 'text',
    start: 'text',
    ackWait: 'number',
    lead: 'flag',
    deadSubject: 'text',
    domain: 'text',
    creds: 'text',
    ca: 'text',
    cert: 'text',
    key: 'text',
  },
  make: (url, settings) => new NatsDriver(url, settings as NatsSettings),
};

const NANOS = 1_000_000;
/** Characters that a stream and a consumer may have in their names. */
const NAME = /^[^\s.*>/\\\u0000-\u001f\u007f]{1,128}$/;
const SUBJECT = /^[^\s\u0000-\u001f\u007f]{1,255}$/;
const MIN_ACK_WAIT = 1_000;
const MAX_ACK_WAIT = 3_600_000;

class NatsDriver implements SourceDriver {
  readonly kind = 'nats';
  readonly name: string;
  readonly scope: string;
  readonly #url: URL;
  readonly #settings: NatsSettings;
  readonly #stream: string;
  readonly #consumer: string;
  readonly #unheard: Unheard = new Map();
  #isToldOfLimit = false;

  constructor(url: string, settings: NatsSettings) {
    this.#url = urlOf(url, 'nats://USER:PASSWORD@HOST:PORT?stream=NAME');
    const { stream, consumer = 'tidings', ackWait } = settings;
    if (stream === undefined) throw new TypeError('a source at NATS is a stream: nats://…?stream=NAME');
    for (const [what, name] of Object.entries({ stream, consumer }))
      if (!NAME.test(name))
        throw new TypeError(`${what} is a name without spaces, dots, wildcards and slashes`);
    for (const what of ['subject', 'deadSubject'] as const)
      if (settings[what] !== undefined && !SUBJECT.test(settings[what]!))
        throw new TypeError(`${what} is no subject`);
    if (/[*>]/.test(settings.deadSubject ?? '')) throw new TypeError('deadSubject has no wildcards');
    if (ackWait !== undefined && !(ackWait >= MIN_ACK_WAIT && ackWait <= MAX_ACK_WAIT))
      throw new RangeError(`ackWait is from ${MIN_ACK_WAIT} to ${MAX_ACK_WAIT} milliseconds`);
    policyOf(settings.start);
    this.#settings = settings;
    this.#stream = stream;
    this.#consumer = consumer;
    this.name = `stream ${stream} at ${this.#url.hostname}:${this.#url.port || '4222'}`;
    this.scope = `nats:${stream}:${consumer}`;
  }

  async run(intake: Intake, signal: AbortSignal): Promise<void> {
    const library = await loadNats();
    const { domain, lead: wantsLead = true } = this.#settings;
    const { hostname, port } = this.#url;
    await greeted(hostname.replace(/^\[|\]$/g, '') || '127.0.0.1', Number(port || 4222), CONNECTING);
    const link = await NatsLink.open(
      library,
      await this.#options(library.transport.credsAuthenticator),
      domain,
    );
    try {
      const stream = await this.#streamInfo(link);
      const consumer = await this.#consumerInfo(link, intake.prefetch);
      intake.connected();
      if (!wantsLead) return await this.#read(link, stream, consumer, intake, signal);
      const lead = new NatsLead(link, `tidings.lead.${this.#stream}.${this.#consumer}`);
      try {
        for (;;) {
          const term = await lead.gain(signal);
          if (term === undefined) return;
          const latest = await this.#consumerInfo(link, intake.prefetch);
          await this.#read(
            link,
            await this.#streamInfo(link),
            latest,
            intake,
            AbortSignal.any([term, signal]),
          );
        }
      } finally {
        lead.leave();
      }
    } finally {
      await link.close();
    }
  }

  #read(
    link: NatsLink,
    stream: StreamInfo,
    consumer: ConsumerInfo,
    intake: Intake,
    signal: AbortSignal,
  ): Promise<void> {
    const lost = lostOf(stream, consumer);
    if (lost !== undefined) intake.missed(lost);
    const { max_deliver: most = -1 } = consumer.config;
    if (most > 0 && !this.#isToldOfLimit) {
      this.#isToldOfLimit = true;
      intake.endangered(
        `the consumer ${this.#consumer} hands out a message ${most} times at the most: set its max_deliver to -1`,
      );
    }
    const { deadSubject } = this.#settings;
    const dead = new NatsDeadLetters(
      link,
      deadSubject ?? `tidings.dead.${this.#stream}`,
      this.#stream,
      deadSubject === undefined ? `${this.#stream}_dead` : undefined,
    );
    const way = {
      link,
      stream: this.#stream,
      consumer: this.#consumer,
      intake,
      dead,
      unheard: this.#unheard,
    };
    return new NatsReading(way, consumer).run(signal);
  }

  async #options(credsAuthenticator: (creds: Uint8Array) => unknown): Promise<object> {
    const { username, password, hostname, port, protocol } = this.#url;
    const { ca, cert, key, creds } = this.#settings;
    const [user, secret] = [decodeURIComponent(username), decodeURIComponent(password)];
    const login = user === '' ? {} : secret === '' ? { token: user } : { user, pass: secret };
    const { creds: credentials, ...files } = await filesOf({ ca, cert, key, creds });
    const tls = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, file.toString()]));
    return {
      servers: `${isIP(hostname.replace(/^\[|\]$/g, '')) === 6 ? hostname : hostname || '127.0.0.1'}:${port || '4222'}`,
      name: `tidings: ${this.#stream}`,
      ...login,
      ...(credentials !== undefined && { authenticator: credsAuthenticator(credentials) }),
      ...((protocol === 'tls:' || Object.keys(tls).length > 0) && { tls }),
    };
  }

  async #streamInfo(link: NatsLink): Promise<StreamInfo> {
    try {
      return await link.answer(link.manager.streams.info(this.#stream), `the stream ${this.#stream}`);
    } catch (error) {
      if (isNotFound(error)) throw new Error(`NATS has no stream ${this.#stream}`, { cause: error });
      throw error;
    }
  }

  async #consumerInfo(link: NatsLink, prefetch: number): Promise<ConsumerInfo> {
    const name = this.#consumer;
    let info: ConsumerInfo;
    try {
      info = await link.answer(link.manager.consumers.info(this.#stream, name), `the consumer ${name}`);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      info = await this.#make(link, prefetch);
    }
    const { ack_policy, deliver_subject } = info.config;
    if (ack_policy !== 'explicit' || deliver_subject) {
      throw new SourceSetupError(
        `the consumer ${name} of the stream ${this.#stream} is not one for this: it has to be a pull consumer with explicit acks`,
      );
    }
    return info;
  }

  #make(link: NatsLink, prefetch: number): Promise<ConsumerInfo> {
    const { subject, start, ackWait = 10_000 } = this.#settings;
    const config = {
      durable_name: this.#consumer,
      ack_policy: 'explicit',
      ack_wait: ackWait * NANOS,
      max_deliver: -1,
      // So that messages that come again have room beside new ones.
      max_ack_pending: prefetch * 2,
      ...policyOf(start),
      ...(subject !== undefined && { filter_subject: subject }),
    };
    const making = link.manager.consumers.add(this.#stream, config);
    return link.answer(making, `making the consumer ${this.#consumer}`);
  }
}

/** What the stream has dropped that was not read, where that can be told: all is acknowledged that was handed out. */
function lostOf({ config, state }: StreamInfo, consumer: ConsumerInfo): string | undefined {
  const { delivered, num_ack_pending, config: own } = consumer;
  const isPart = (own.filter_subject ?? '') !== '' || (own.filter_subjects ?? []).length > 0;
  if (config.retention !== 'limits' || isPart || num_ack_pending > 0 || delivered.stream_seq === 0)
    return undefined;
  const next = delivered.stream_seq + 1;
  if (state.first_seq <= next) return undefined;
  return `the stream has no messages any more from ${next} to ${state.first_seq - 1}, which were not read`;
}

function isNotFound(error: unknown): boolean {
  return /not found/i.test((error as Error)?.message ?? '');
}

function policyOf(given: string | undefined): object {
  const start = startOf(given);
  if (start === 'first') return { deliver_policy: 'all' };
  if (start === 'next') return { deliver_policy: 'new' };
  return { deliver_policy: 'by_start_time', opt_start_time: new Date(start).toISOString() };
}
