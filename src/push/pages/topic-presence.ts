/** Who is on topics: of those whose options say that it can be asked, the store knows each subscription. */
import { checkNames, type Names } from '../../option-names.ts';
import type { Attendance } from '../../pubsub/store/attendance.ts';
import { type Broker, entryId, type PresenceEntry } from '../../pubsub/store/broker.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { TopicTable } from '../delivery/topic-options.ts';
import { topicProblem } from '../talk/names.ts';
import type { Presence } from './presence.ts';
import type { Session } from './session.ts';

const DEFAULT_LIMIT = 100;
/** Users that one call may name. */
const MAX_LIMIT = 10_000;

/** How much `attendance` tells. */
export interface AttendanceSettings {
  /** Users that are named, 0 to 10,000; all are counted. Default 100. */
  limit?: number;
}

const SETTINGS: Names<AttendanceSettings> = { limit: true };

export class TopicPresence {
  readonly #instance: string;
  readonly #broker: Broker;
  readonly #presence: Presence;
  readonly #topics: TopicTable;

  constructor(instance: string, broker: Broker, presence: Presence, topics: TopicTable) {
    this.#instance = instance;
    this.#broker = broker;
    this.#presence = presence;
    this.#topics = topics;
  }

  /** The session is on the topic, until the subscription ends. */
  attends({ id, user }: Session, subscription: Subscription): void {
    const topic = subscription.channel.name;
    const entry: PresenceEntry = { session: id, instance: this.#instance, user, since: Date.now(), topic };
    this.#presence.add(entry);
    subscription.whenClosed(() => this.#presence.remove(entryId(entry)));
  }

  async of(topic: string, settings: AttendanceSettings): Promise<Attendance> {
    checkNames('presence', settings, SETTINGS);
    const { limit = DEFAULT_LIMIT } = settings;
    const problem = topicProblem(topic);
    if (problem !== undefined) throw new TypeError(problem);
    if (!Number.isInteger(limit) || limit < 0 || limit > MAX_LIMIT) {
      throw new RangeError(`limit is a whole number from 0 to ${MAX_LIMIT}`);
    }
    if (this.#topics.of(topic).presence !== true) {
      throw new RangeError('the options of this topic do not say `presence: true`');
    }
    await this.#presence.flush();
    return this.#broker.attendance(topic, limit);
  }
}
