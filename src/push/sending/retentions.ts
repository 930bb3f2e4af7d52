/** How long each channel keeps its messages, as this server is set. */
import type { Retentions as AllRetentions, Retention } from '../../pubsub/store/broker.ts';
import type { TopicTable } from '../delivery/topic-options.ts';
import { DEFAULT_RETENTION, type RetentionOptions } from '../options.ts';
import { isInbox } from '../talk/names.ts';

export class Retentions {
  #inbox: Retention;
  #topic: Retention;
  readonly #topics: TopicTable;

  constructor(topics: TopicTable, { inbox, topic }: RetentionOptions = {}) {
    this.#inbox = { ...DEFAULT_RETENTION.inbox, ...inbox };
    this.#topic = { ...DEFAULT_RETENTION.topic, ...topic };
    this.#topics = topics;
  }

  /** From here on it says what the other one does; of topics by their names, the table of this one counts. */
  become(other: Retentions): void {
    this.#inbox = other.#inbox;
    this.#topic = other.#topic;
  }

  get all(): AllRetentions {
    const topics: Record<string, Retention> = {};
    for (const [name, { retention }] of this.#topics.all) {
      if (retention !== undefined) topics[name] = { ...this.#topic, ...retention };
    }
    return { inbox: this.#inbox, topic: this.#topic, topics };
  }

  of(channel: string): Retention {
    if (isInbox(channel)) return this.#inbox;
    return { ...this.#topic, ...this.#topics.of(channel).retention };
  }
}
