/** The sending side: what an application's data becomes in the store, and what `confirm` waits for. */
import { monotonicNow } from '../../clock.ts';
import { checkNames, type Names } from '../../option-names.ts';
import type { Broker, IntakeMessage, PayloadKind, Receipt } from '../../pubsub/store/broker.ts';
import { sizeWithin } from '../../pubsub/store/marks.ts';
import type { LaterSettings } from '../../pubsub/store/schedule.ts';
import { isIn } from '../../waiting.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import type { Limits } from '../options.ts';
import { type Decode, decodeData, encodeData } from '../payload.ts';
import {
  inboxOf,
  isInbox,
  keyProblem,
  referenceProblem,
  replacesProblem,
  topicProblem,
  ttlProblem,
  userOf,
  userProblem,
  windowProblem,
} from '../talk/names.ts';
import { BROADCAST } from '../talk/wire.ts';
import type { Tracing } from '../tracing/tracing.ts';
import { Confirmations } from './confirmations.ts';
import type { Retentions } from './retentions.ts';
import { checkedAt, type Scheduled } from './schedule.ts';
import type { Scheduler } from './scheduler.ts';
import { type SentMany, sendMany, type UserResult } from './send-many.ts';

const DEFAULT_CONFIRM_TIMEOUT = 10_000;
const PENDING_PAGE = 200;
const CONFIRM: readonly unknown[] = ['stored', 'replicated', 'acked'];

/** What `send` and `publish` take besides the message. */
export interface PublishSettings {
  /** The same key for the same user or topic within the window gives the first receipt again, with `duplicate: true`. */
  idempotencyKey?: string;
  /** Milliseconds that the key is remembered. Default 24 hours. */
  idempotencyWindow?: number;
  /** Milliseconds from its being stored after which the message is gone. Default: it stays as long as others. */
  ttl?: number;
  /**
   * A key of 1 to 256 characters: the newest message of the same user or topic that was sent with the same key is gone, in
   * the moment in which this one is there, which is unread.
   */
  replaces?: string;
  /**
   * What to wait for: that the store has it (the default), that a replica of the store has it too, or,
   * for `send`, that a device of the user has acknowledged it.
   */
  confirm?: 'stored' | 'replicated' | 'acked';
  /**
   * Milliseconds for `replicated` and `acked`. Default 10,000. Then it rejects, although it is stored. `acked` rejects at
   * once with a {MessageGoneError} where the message is withdrawn, replaced or deleted, or expires, unacknowledged.
   */
  timeout?: number;
  /**
   * The trace that sending it belongs to, as W3C Trace Context has these headers; what is not as it says counts as not
   * given. Default: the active span of OpenTelemetry, where `tracing` is on.
   */
  traceparent?: string;
  /** Goes with `traceparent`. */
  tracestate?: string;
  /** With a time it is sent later: see `ScheduleSettings`. */
  at?: undefined;
}

/** As `PublishSettings`, for a message that is sent later. What they say counts from then on. */
export interface ScheduleSettings extends Omit<PublishSettings, 'at' | 'confirm' | 'timeout'> {
  /**
   * When: a Date, or milliseconds since 1970. Never before that, and about a second later at the most when all is well. A
   * time that is over means now.
   */
  at: Date | number;
}

/** What holds for `send` holds for each user, `idempotencyKey` as well: so whoever calls again sends to nobody twice. */
export interface SendManySettings extends Omit<PublishSettings, 'at' | 'confirm' | 'timeout'> {
  /** As of `ScheduleSettings`. */
  at?: Date | number | undefined;
  /**
   * Is told of each user, in any order, with his place among the users (from 0 on), in place of a list of results. Where
   * it returns a promise, that is waited for before more is sent; where it throws or rejects, no more is sent, and
   * `sendMany` rejects with that.
   */
  each?(result: UserResult, index: number): unknown;
  /** No more is sent once it is aborted; `sendMany` rejects with its reason. */
  signal?: AbortSignal;
}

/** What any of them may say. */
export type AnySettings = Omit<PublishSettings, 'at'> & { at?: Date | number | undefined };

/** With the trace that it has already; empty: none. */
type OwnSettings = AnySettings & { trace?: string };

const SETTINGS: Names<AnySettings> = {
  idempotencyKey: true,
  idempotencyWindow: true,
  ttl: true,
  replaces: true,
  confirm: true,
  timeout: true,
  traceparent: true,
  tracestate: true,
  at: true,
};

/** What `send` resolves with. */
export interface SendReceipt extends Receipt {
  /** With `confirm: 'acked'`: which device it was. */
  device?: string;
}

/** What no device of a user has acknowledged yet, without what is gone. */
export interface Pending {
  /** How many messages. */
  count: number;
  /** Oldest first, at most `limit` of them. */
  messages: { epoch: string; offset: number; id: string; time: number; data: unknown }[];
}

export class Publisher {
  readonly #broker: Broker;
  readonly #router: ChannelRouter;
  readonly #limits: Pick<Limits, 'message'>;
  readonly #retentions: Retentions;
  readonly #scheduler: Scheduler;
  readonly #tracing: Tracing;
  readonly confirmations: Confirmations;
  /** Messages stored since the start, those among them that were stored before, and those that could not be. */
  published = 0;
  duplicates = 0;
  failed = 0;
  /** Sent, but not stored. */
  notified = 0;

  constructor(
    router: ChannelRouter,
    limits: Pick<Limits, 'message'>,
    scheduler: Scheduler,
    retentions: Retentions,
  ) {
    this.#scheduler = scheduler;
    this.#router = router;
    this.#broker = router.broker;
    this.#limits = limits;
    this.#retentions = retentions;
    this.confirmations = new Confirmations(router.broker);
    this.#tracing = router.tracing;
  }

  send(user: string, data: unknown, settings: PublishSettings): Promise<SendReceipt>;
  send(user: string, data: unknown, settings: AnySettings): Promise<SendReceipt | Scheduled>;
  async send(user: string, data: unknown, settings: AnySettings): Promise<SendReceipt | Scheduled> {
    checkNames('settings', settings, SETTINGS);
    const { kind, bytes } = encodeData(data);
    return this.#sendTo(checkedInbox(user), kind, bytes, settings);
  }

  /** To each of these users, encoded once. Without `each`, the results are in the order of the users. */
  async sendMany(
    users: Iterable<string> | AsyncIterable<string>,
    data: unknown,
    { each, signal, ...settings }: SendManySettings,
  ): Promise<UserResult[] | SentMany> {
    checkNames('settings', settings, SETTINGS);
    const encoded = encodeData(data);
    // What is sent for a long time must not change meanwhile.
    const payload = { ...encoded, bytes: Buffer.from(encoded.bytes) };
    this.#check(payload.bytes, settings);
    // One span for all of them, and the same trace with each.
    const batch = this.#tracing.sendMany(payload.bytes.length, settings);
    const own: OwnSettings = batch === undefined ? settings : { ...settings, trace: batch.trace ?? '' };
    const send = async (user: string): Promise<Receipt | Scheduled> =>
      this.#sendTo(checkedInbox(user), payload.kind, payload.bytes, own);
    const results: UserResult[] = [];
    const keep = (result: UserResult, index: number): void => {
      results[index] = result;
    };
    try {
      const sum = await sendMany(users, payload.bytes.length, send, each ?? keep, signal);
      batch?.ended(sum);
      return each === undefined ? results : sum;
    } catch (error) {
      batch?.failed(error);
      throw error;
    }
  }

  sendReference(user: string, key: string, settings: PublishSettings): Promise<SendReceipt>;
  sendReference(user: string, key: string, settings: AnySettings): Promise<SendReceipt | Scheduled>;
  async sendReference(user: string, key: string, settings: AnySettings): Promise<SendReceipt | Scheduled> {
    const problem = referenceProblem(key);
    if (problem !== undefined) throw new TypeError(problem);
    checkNames('settings', settings, SETTINGS);
    return this.#sendTo(checkedInbox(user), 'reference', Buffer.from(key), settings);
  }

  publish(topic: string, data: unknown, settings: PublishSettings): Promise<Receipt>;
  publish(topic: string, data: unknown, settings: AnySettings): Promise<Receipt | Scheduled>;
  async publish(topic: string, data: unknown, settings: AnySettings): Promise<Receipt | Scheduled> {
    const problem = topicProblem(topic);
    if (problem !== undefined) throw new TypeError(problem);
    checkNames('settings', settings, SETTINGS);
    if (settings.confirm === 'acked')
      throw new TypeError('a topic has nobody whose acknowledgement could be waited for');
    const { kind, bytes } = encodeData(data);
    return this.#store(topic, kind, bytes, settings);
  }

  /** Stores what another program gave to the broker. @throws {TypeError} for a channel that can't be, {RangeError} by size */
  async take(message: IntakeMessage): Promise<Receipt> {
    this.#checkSize(message.payload);
    return this.takeDue(message);
  }

  /**
   * Stores what was to be sent by now. How large it may be was checked when it was scheduled, by an instance that may have
   * had other limits.
   *
   * @throws {TypeError} for a channel or settings that can't be
   */
  async takeDue({ channel, kind, payload, ...settings }: IntakeMessage & LaterSettings): Promise<Receipt> {
    const problem = isInbox(channel) ? userProblem(userOf(channel)) : topicProblem(channel);
    if (problem !== undefined) throw new TypeError(problem);
    checkSettings(settings);
    return this.#publish(channel, kind, payload, settings, true);
  }

  async notify(channel: string, data: unknown): Promise<void> {
    const { bytes } = encodeData(data);
    this.#checkSize(bytes);
    await this.#broker.notify(channel, bytes);
    this.notified++;
  }

  async notifyUser(user: string, data: unknown): Promise<void> {
    return this.notify(checkedInbox(user), data);
  }

  async notifyTopic(topic: string, data: unknown): Promise<void> {
    const problem = topicProblem(topic);
    if (problem !== undefined) throw new TypeError(problem);
    return this.notify(topic, data);
  }

  broadcast(data: unknown): Promise<void> {
    return this.notify(BROADCAST, data);
  }

  async pending(user: string, limit: number, decode: Decode = decodeData): Promise<Pending> {
    const channel = checkedInbox(user);
    const cursors = await this.#broker.cursors(channel);
    let page = await this.#broker.read(channel, 0, 1);
    let acked = 0;
    for (const { position } of cursors) {
      if (position.epoch === page.top.epoch) acked = Math.max(acked, position.offset);
    }
    const from = Math.max(acked, page.first - 1);
    const { marks, top } = await this.#broker.marks(channel);
    const gone = top.epoch === page.top.epoch ? sizeWithin(marks.gone, from + 1, page.top.offset) : 0;
    const count = Math.max(0, page.top.offset - from - gone);
    const messages: Pending['messages'] = [];
    for (let after = from; messages.length < Math.min(limit, count); ) {
      page = await this.#broker.read(channel, after, Math.min(PENDING_PAGE, limit - messages.length));
      if (page.messages.length === 0) break;
      for (const { epoch, offset, id, time, kind, payload } of page.messages) {
        after = offset;
        if (kind !== 'gone') messages.push({ epoch, offset, id, time, data: decode(kind, payload) });
      }
    }
    return { count, messages };
  }

  #sendTo(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    settings: OwnSettings,
  ): Promise<SendReceipt | Scheduled> {
    return settings.confirm === 'acked' && settings.at === undefined
      ? this.#sendUntilAcked(channel, kind, payload, settings)
      : this.#store(channel, kind, payload, settings);
  }

  async #sendUntilAcked(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    settings: OwnSettings,
  ): Promise<SendReceipt> {
    this.#check(payload, settings);
    const timeout = settings.timeout ?? DEFAULT_CONFIRM_TIMEOUT;
    const deadline = monotonicNow() + timeout;
    // Acknowledgements are heard only on subscribed channels, so it comes first.
    const subscribed = this.#router.acquire(channel);
    try {
      if (!(await isIn(subscribed.ready(), timeout))) {
        throw new Error(`${channel} could not be subscribed within ${timeout} ms; nothing was stored`);
      }
      // Expected before it is stored: the acknowledgement may come before the store's own answer.
      const expected = this.confirmations.expect(channel);
      try {
        const receipt = await this.#publish(channel, kind, payload, settings);
        const device = await expected.of(receipt, timeout, Math.max(0, deadline - monotonicNow()));
        return { ...receipt, device };
      } finally {
        expected.forget();
      }
    } finally {
      this.#router.release(subscribed);
    }
  }

  /** Now, or when it is to be sent. @throws as `#check`, before it gives a promise */
  #store(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    settings: OwnSettings,
  ): Promise<Receipt | Scheduled> {
    this.#check(payload, settings);
    const { at, idempotencyKey, idempotencyWindow, ttl, replaces, trace } = settings;
    if (at === undefined) return this.#publish(channel, kind, payload, settings);
    const sending =
      trace === undefined
        ? this.#tracing.send('schedule', channel, payload.length, settings, false)
        : undefined;
    const kept = trace || sending?.trace;
    const added = this.#scheduler.add({
      channel,
      kind,
      payload,
      at: checkedAt(at),
      settings: {
        ...(idempotencyKey !== undefined && { idempotencyKey }),
        ...(idempotencyWindow !== undefined && { idempotencyWindow }),
        ...(ttl !== undefined && { ttl }),
        ...(replaces !== undefined && { replaces }),
        ...(kept !== undefined && kept !== '' && { trace: kept }),
      },
    });
    if (sending !== undefined) {
      added.then(
        ({ scheduled }) => sending.scheduled(scheduled),
        (error) => sending.failed(error),
      );
    }
    return added;
  }

  /** @param settings that were checked */
  async #publish(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    settings: OwnSettings,
    isLater = false,
  ): Promise<Receipt> {
    const { idempotencyKey, idempotencyWindow, ttl, replaces, confirm, timeout } = settings;
    const sending =
      settings.trace === undefined || isLater
        ? this.#tracing.send('send', channel, payload.length, settings, isLater)
        : undefined;
    const trace = sending === undefined ? settings.trace : sending.trace;
    let receipt: Receipt;
    try {
      receipt = await this.#broker.publish(channel, kind, payload, {
        retention: this.#retentions.of(channel),
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
        ...(idempotencyWindow === undefined ? {} : { idempotencyWindow }),
        ...(ttl === undefined ? {} : { ttl }),
        ...(replaces === undefined ? {} : { replaces }),
        ...(trace === undefined || trace === '' ? {} : { trace }),
        ...(confirm === 'replicated'
          ? { replicas: 1, replicaTimeout: timeout ?? DEFAULT_CONFIRM_TIMEOUT }
          : {}),
      });
    } catch (error) {
      this.failed++;
      sending?.failed(error);
      throw error;
    }
    sending?.stored(receipt);
    this.published++;
    if (receipt.duplicate) this.duplicates++;
    else this.#router.stored(receipt);
    return receipt;
  }

  /** @throws {TypeError} for settings that make no sense, {RangeError} for a message that is too large or a time that can't be */
  #check(payload: Buffer, settings: AnySettings): void {
    this.#checkSize(payload);
    checkSettings(settings);
  }

  #checkSize(payload: Buffer): void {
    const { message: most } = this.#limits;
    if (payload.length <= most) return;
    throw new RangeError(`a message of ${payload.length} bytes is over limits.message, ${most} bytes`);
  }
}

/** @throws {TypeError} for settings that make no sense, {RangeError} for a time that can't be */
function checkSettings(settings: AnySettings): void {
  const { idempotencyKey, idempotencyWindow, ttl, replaces, at, confirm } = settings;
  const problem =
    (idempotencyKey === undefined ? undefined : keyProblem(idempotencyKey)) ??
    (replaces === undefined ? undefined : replacesProblem(replaces)) ??
    ttlProblem(ttl) ??
    windowProblem(idempotencyWindow) ??
    confirmProblem(settings);
  if (problem !== undefined) throw new TypeError(problem);
  if (at === undefined) return;
  checkedAt(at);
  if (confirm !== undefined && confirm !== 'stored') {
    throw new TypeError(`a message that is sent later can't wait for confirm: '${confirm}'`);
  }
}

function confirmProblem({ confirm, timeout }: AnySettings): string | undefined {
  if (confirm !== undefined && !CONFIRM.includes(confirm)) return `confirm is one of ${CONFIRM.join(', ')}`;
  const isFit = timeout === undefined || (typeof timeout === 'number' && timeout >= 0);
  return isFit ? undefined : 'timeout is a number of milliseconds';
}

/** @throws {TypeError} for an unfit name */
function checkedInbox(user: string): string {
  const problem = userProblem(user);
  if (problem !== undefined) throw new TypeError(problem);
  return inboxOf(user);
}
