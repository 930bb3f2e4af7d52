/**
 * Which topics the application gives to users and takes from them, on all instances: what has been taken may be asked for
 * again (`unsubscribe`) or not until some moment (`revoke`). What is promised is in docs/endings.md.
 */
import type { Log } from '../../log-fields.ts';
import { checkNames, type Names } from '../../option-names.ts';
import { type ControlLog, type Mark, RESTORED, type RecordChange } from '../../pubsub/store/control.ts';
import type { Commands } from '../commands.ts';
import { topicProblem, userProblem } from '../talk/names.ts';

/** How long `revoke` keeps a user from a topic. */
export interface RevokeSettings {
  /** When the user may subscribe again: milliseconds since 1970, or a Date. Default: when `permit` says so. */
  until?: number | Date;
}

export interface TopicRightsEvents {
  /** The user's sessions here get no more of the topic. Returns how many had it, or were about to. */
  taken(user: string, topic: string, reason: 'unsubscribed' | 'revoked', mark: Mark): number;
  /** The user's sessions here get the topic. Returns how many did not have it. */
  given(user: string, topic: string): number;
}

const REVOKE: Names<RevokeSettings> = { until: true };
const GIVE = 'topic given';
const TAKE = 'topic taken';
const NOTHING = 'nothing';
const PREFIX = 'revoked ';

export class TopicRights {
  readonly #control: ControlLog;
  readonly #commands: Commands;
  readonly #log: Log;

  constructor(control: ControlLog, commands: Commands, events: TopicRightsEvents, log: Log) {
    this.#control = control;
    this.#commands = commands;
    this.#log = log;
    commands.on(TAKE, ({ user, topic, revoked }, mark) => {
      if (!areNames(user, topic)) return 0;
      return events.taken(user, topic as string, revoked === true ? 'revoked' : 'unsubscribed', mark);
    });
    // Whoever has it was not told when it was revoked.
    commands.on(RESTORED, (_, mark) => {
      let count = 0;
      for (const key of this.#control.records().keys()) {
        const of = ofKey(key);
        if (of !== undefined) count += events.taken(of.user, of.topic, 'revoked', mark);
      }
      return count;
    });
    commands.on(GIVE, ({ user, topic }) => (areNames(user, topic) ? events.given(user, topic as string) : 0));
  }

  isRevoked(user: string, topic: string): boolean {
    return this.#control.record(keyOf(user, topic)) !== undefined;
  }

  async subscribe(user: string, topic: string): Promise<number> {
    check(user, topic);
    if (this.isRevoked(user, topic)) throw new RangeError('the topic was revoked: permit it first');
    const count = await this.#commands.say(GIVE, { user, topic });
    this.#tell('given', user, topic);
    return count;
  }

  async unsubscribe(user: string, topic: string): Promise<number> {
    check(user, topic);
    const count = await this.#commands.say(TAKE, { user, topic });
    this.#tell('taken', user, topic);
    return count;
  }

  async revoke(user: string, topic: string, settings: RevokeSettings): Promise<number> {
    check(user, topic);
    checkNames('revoke', settings, REVOKE);
    const { until } = settings;
    const end = until === undefined ? Number.POSITIVE_INFINITY : Number(until);
    if (!(end > Date.now())) throw new RangeError('`until` is no moment that is still to come');
    const change: RecordChange = { key: keyOf(user, topic), record: { value: '', until: end } };
    const count = await this.#commands.say(TAKE, { user, topic, revoked: true }, change);
    this.#tell('revoked', user, topic);
    return count;
  }

  async permit(user: string, topic: string): Promise<boolean> {
    check(user, topic);
    const wasRevoked = this.isRevoked(user, topic);
    await this.#commands.say(NOTHING, {}, { key: keyOf(user, topic), record: undefined });
    this.#tell('permitted', user, topic);
    return wasRevoked;
  }

  /** All instances know it. */
  #tell(change: 'given' | 'taken' | 'revoked' | 'permitted', user: string, topic: string): void {
    this.#log('info', `the topic ${topic} was ${change}: ${user}`, {
      event: 'topic-rights-changed',
      change,
      user,
      topic,
    });
  }
}

function keyOf(user: string, topic: string): string {
  return PREFIX + JSON.stringify([user, topic]);
}

/** Undefined for a record of another kind. */
function ofKey(key: string): { user: string; topic: string } | undefined {
  if (!key.startsWith(PREFIX)) return undefined;
  try {
    const [user, topic] = JSON.parse(key.slice(PREFIX.length)) as unknown[];
    return areNames(user, topic) ? { user, topic: topic as string } : undefined;
  } catch {
    // Another version may have other keys that begin so.
    return undefined;
  }
}

function check(user: unknown, topic: unknown): void {
  const problem = userProblem(user) ?? topicProblem(topic);
  if (problem !== undefined) throw new TypeError(problem);
}

/** A command comes from another instance, perhaps of another version. */
function areNames(user: unknown, topic: unknown): user is string {
  return userProblem(user) === undefined && topicProblem(topic) === undefined;
}
