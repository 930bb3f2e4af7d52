/** Where users are, on all instances: this one knows its own sessions, and the store those of all. */
import type { Broker, PresenceEntry } from '../../pubsub/store/broker.ts';
import { userProblem } from '../talk/names.ts';
import type { Presence } from './presence.ts';
import type { SessionRegistry } from './registry.ts';

/** Users that one call may ask of. */
const MAX_USERS = 10_000;

export class UserPresence {
  readonly #broker: Broker;
  readonly #presence: Presence;
  readonly #registry: SessionRegistry;

  constructor(broker: Broker, presence: Presence, registry: SessionRegistry) {
    this.#broker = broker;
    this.#presence = presence;
    this.#registry = registry;
  }

  async sessions(user: string): Promise<PresenceEntry[]> {
    await this.#presence.flush();
    return this.#broker.presence(user);
  }

  async isOnline(user: string): Promise<boolean> {
    return (await this.#found([user])).has(user);
  }

  /** @throws {TypeError} for names that can't be; {RangeError} for too many */
  async online(users: readonly string[]): Promise<Set<string>> {
    if (!Array.isArray(users)) throw new TypeError('users is an array of names');
    if (users.length > MAX_USERS) throw new RangeError(`online tells of at most ${MAX_USERS} users at once`);
    for (const user of users) {
      const problem = userProblem(user);
      if (problem !== undefined) throw new TypeError(problem);
    }
    return this.#found([...new Set<string>(users)]);
  }

  async #found(users: readonly string[]): Promise<Set<string>> {
    const isHere = (user: string): boolean => this.#registry.of(user).size > 0;
    const elsewhere = users.filter((user) => !isHere(user));
    if (elsewhere.length === 0) return new Set(users);
    // Who has just gone from here is not to be found there.
    await this.#presence.flush();
    const found = await this.#broker.online(elsewhere);
    return new Set(users.filter((user) => found.has(user) || isHere(user)));
  }
}
