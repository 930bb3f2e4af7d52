/** The sending side: what an application's data becomes in the store, and what `confirm` waits for. */
import { monotonicNow } from '../../clock.ts';
import type { Broker, IntakeMessage, PayloadKind, Receipt, Retention } from '../../pubsub/store/broker.ts';
import { isIn } from '../../waiting.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import type { TopicTable } from '../delivery/topic-options.ts';
import { DEFAULT_RETENTION, type RetentionOptions } from '../options.ts';
import { decodeData, encodeData } from '../payload.ts';
import {
  inboxOf,
  isInbox,
  keyProblem,
  referenceProblem,
  topicProblem,
  userOf,
  userProblem,
} from '../talk/names.ts';
import { BROADCAST } from '../talk/wire.ts';
import { Confirmations } from './confirmations.ts';

const DEFAULT_CONFIRM_TIMEOUT = 10_000;
const PENDING_PAGE = 200;

export interface PublishSettings {
  /** The same key for the same user or topic within the window gives the first receipt again, with `duplicate: true`. */
  idempotencyKey?: string;
  /** Milliseconds that the key is remembered. Default 24 hours. */
  idempotencyWindow?: number;
  /**
   * What to wait for: that the store has it (the default), that a replica of the store has it too, or,
   * for `send`, that a device of the user has acknowledged it.
   */
  confirm?: 'stored' | 'replicated' | 'acked';
  /** Milliseconds for `replicated` and `acked`. Default 10,000. Then it rejects, although it is stored. */
  timeout?: number;
}

export interface SendReceipt extends Receipt {
  /** With `confirm: 'acked'`: which device it was. */
  device?: string;
}

/** What no device of a user has acknowledged yet. */
export interface Pending {
  count: number;
  /** Oldest first, at most `limit` of them. */
  messages: { epoch: string; offset: number; id: string; time: number; data: unknown }[];
}

export class Publisher {
  readonly #broker: Broker;
  readonly #router: ChannelRouter;
  readonly #maxMessage: number;
  readonly #retention: { inbox: Retention; topic: Retention };
  readonly #topics: TopicTable;
  readonly confirmations: Confirmations;
  /** Messages stored since the start. */
  published = 0;

  constructor(
    router: ChannelRouter,
    maxMessage: number,
    topics: TopicTable,
    retention: RetentionOptions = {},
  ) {
    this.#router = router;
    this.#broker = router.broker;
    this.#maxMessage = maxMessage;
    this.#retention = {
      inbox: { ...DEFAULT_RETENTION.inbox, ...retention.inbox },
      topic: { ...DEFAULT_RETENTION.topic, ...retention.topic },
    };
    this.#topics = topics;
    this.confirmations = new Confirmations(router.broker);
  }

  async send(user: string, data: unknown, settings: PublishSettings): Promise<SendReceipt> {
    const { kind, bytes } = encodeData(data);
    return this.#sendTo(checkedInbox(user), kind, bytes, settings);
  }

  async sendReference(user: string, key: string, settings: PublishSettings): Promise<SendReceipt> {
    const problem = referenceProblem(key);
    if (problem !== undefined) throw new TypeError(problem);
    return this.#sendTo(checkedInbox(user), 'reference', Buffer.from(key), settings);
  }

  async publish(topic: string, data: unknown, settings: PublishSettings): Promise<Receipt> {
    const problem = topicProblem(topic);
    if (problem !== undefined) throw new TypeError(problem);
    if (settings.confirm === 'acked')
      throw new TypeError('a topic has nobody whose acknowledgement could be waited for');
    const { kind, bytes } = encodeData(data);
    const retention = { ...this.#retention.topic, ...this.#topics.of(topic).retention };
    return this.#store(topic, kind, bytes, retention, settings);
  }

  /** Stores what another program gave to the broker. @throws {TypeError} for a channel that can't be */
  async take({ channel, kind, payload, idempotencyKey }: IntakeMessage): Promise<Receipt> {
    if (isInbox(channel)) {
      checkedInbox(userOf(channel));
      return this.#store(channel, kind, payload, this.#retention.inbox, { idempotencyKey });
    }
    const problem = topicProblem(channel);
    if (problem !== undefined) throw new TypeError(problem);
    const retention = { ...this.#retention.topic, ...this.#topics.of(channel).retention };
    return this.#store(channel, kind, payload, retention, { idempotencyKey });
  }

  async notify(channel: string, data: unknown): Promise<void> {
    const { bytes } = encodeData(data);
    this.#checkSize(bytes);
    await this.#broker.notify(channel, bytes);
  }

  async notifyUser(user: string, data: unknown): Promise<void> {
    return this.notify(checkedInbox(user), data);
  }

  broadcast(data: unknown): Promise<void> {
    return this.notify(BROADCAST, data);
  }

  async pending(user: string, limit: number): Promise<Pending> {
    const channel = checkedInbox(user);
    const cursors = await this.#broker.cursors(channel);
    let page = await this.#broker.read(channel, 0, 1);
    let acked = 0;
    for (const { position } of cursors) {
      if (position.epoch === page.top.epoch) acked = Math.max(acked, position.offset);
    }
    const from = Math.max(acked, page.first - 1);
    const count = Math.max(0, page.top.offset - from);
    const messages: Pending['messages'] = [];
    while (messages.length < Math.min(limit, count)) {
      const after = messages.at(-1)?.offset ?? from;
      page = await this.#broker.read(channel, after, Math.min(PENDING_PAGE, limit - messages.length));
      if (page.messages.length === 0) break;
      for (const { epoch, offset, id, time, kind, payload } of page.messages) {
        messages.push({ epoch, offset, id, time, data: decodeData(kind, payload) });
      }
    }
    return { count, messages };
  }

  async #sendTo(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    settings: PublishSettings,
  ): Promise<SendReceipt> {
    const store = (): Promise<Receipt> =>
      this.#store(channel, kind, payload, this.#retention.inbox, settings);
    if (settings.confirm !== 'acked') return store();
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
        const receipt = await store();
        const device = await expected.of(receipt, timeout, Math.max(0, deadline - monotonicNow()));
        return { ...receipt, device };
      } finally {
        expected.forget();
      }
    } finally {
      this.#router.release(subscribed);
    }
  }

  async #store(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    retention: Retention,
    { idempotencyKey, idempotencyWindow, confirm, timeout }: PublishSettings,
  ): Promise<Receipt> {
    this.#checkSize(payload);
    const problem = idempotencyKey === undefined ? undefined : keyProblem(idempotencyKey);
    if (problem !== undefined) throw new TypeError(problem);
    const receipt = await this.#broker.publish(channel, kind, payload, {
      retention,
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      ...(idempotencyWindow === undefined ? {} : { idempotencyWindow }),
      ...(confirm === 'replicated'
        ? { replicas: 1, replicaTimeout: timeout ?? DEFAULT_CONFIRM_TIMEOUT }
        : {}),
    });
    this.published++;
    if (!receipt.duplicate) this.#router.stored(receipt);
    return receipt;
  }

  #checkSize(payload: Buffer): void {
    if (payload.length <= this.#maxMessage) return;
    throw new RangeError(
      `a message of ${payload.length} bytes is over limits.message, ${this.#maxMessage} bytes`,
    );
  }
}

/** @throws {TypeError} for an unfit name */
function checkedInbox(user: string): string {
  const problem = userProblem(user);
  if (problem !== undefined) throw new TypeError(problem);
  return inboxOf(user);
}
