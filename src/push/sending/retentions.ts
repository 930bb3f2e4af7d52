/** How long each channel keeps its messages, as this server is set. */
import type { Retention } from '../../pubsub/store/broker.ts';
import type { TopicTable } from '../delivery/topic-options.ts';
import { DEFAULT_RETENTION, type RetentionOptions } from '../options.ts';
import { isInbox } from '../talk/names.ts';

export class Retentions {
  readonly #inbox: Retention;
  readonly #topic: Retention;
  readonly #topics: TopicTable;

  constructor(topics: TopicTable, { inbox, topic }: RetentionOptions = {}) {
    this.#inbox = { ...DEFAULT_RETENTION.inbox, ...inbox };
    this.#topic = { ...DEFAULT_RETENTION.topic, ...topic };
    this.#topics = topics;
  }

  of(channel: string): Retention {
    if (isInbox(channel)) return this.#inbox;
    return { ...this.#topic, ...this.#topics.of(channel).retention };
  }
}
