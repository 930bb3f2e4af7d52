/** The sending side: what an application's data becomes in the store, and what `confirm` waits for. */
import { monotonicNow } from '../../clock.ts';
import type { Broker, IntakeMessage, PayloadKind, Receipt } from '../../pubsub/store/broker.ts';
import type { LaterSettings } from '../../pubsub/store/schedule.ts';
import { isIn } from '../../waiting.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import type { Limits } from '../options.ts';
import { encodeData } from '../payload.ts';
import { checkedInbox, isInbox, referenceProblem, topicProblem, userOf, userProblem } from '../talk/names.ts';
import { BROADCAST } from '../talk/wire.ts';
import type { Tracing } from '../tracing/tracing.ts';
import { Confirmations } from './confirmations.ts';
import {
  type AnySettings,
  checkSettingNames,
  checkSettings,
  type PublishSettings,
  type SendManySettings,
} from './publish-settings.ts';
import type { Retentions } from './retentions.ts';
import { checkedAt, type Scheduled } from './schedule.ts';
import type { Scheduler } from './scheduler.ts';
import { type SentMany, sendMany, type UserResult } from './send-many.ts';

const DEFAULT_CONFIRM_TIMEOUT = 10_000;

/** With the trace that it has already; empty: none. */
type OwnSettings = AnySettings & { trace?: string };

/** What `send` resolves with. */
export interface SendReceipt extends Receipt {
  /** With `confirm: 'acked'`: which device it was. */
  device?: string;
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
    checkSettingNames(settings);
    const { kind, bytes } = encodeData(data);
    return this.#sendTo(checkedInbox(user), kind, bytes, settings);
  }

  /** To each of these users, encoded once. Without `each`, the results are in the order of the users. */
  async sendMany(
    users: Iterable<string> | AsyncIterable<string>,
    data: unknown,
    { each, signal, ...settings }: SendManySettings,
  ): Promise<UserResult[] | SentMany> {
    checkSettingNames(settings);
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
    checkSettingNames(settings);
    return this.#sendTo(checkedInbox(user), 'reference', Buffer.from(key), settings);
  }

  publish(topic: string, data: unknown, settings: PublishSettings): Promise<Receipt>;
  publish(topic: string, data: unknown, settings: AnySettings): Promise<Receipt | Scheduled>;
  async publish(topic: string, data: unknown, settings: AnySettings): Promise<Receipt | Scheduled> {
    const problem = topicProblem(topic);
    if (problem !== undefined) throw new TypeError(problem);
    checkSettingNames(settings);
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
