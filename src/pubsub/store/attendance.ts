/** Who is on a topic, counted by user. */

/** Who is on a topic. */
export interface Attendance {
  /** Some of those who are there, or all, in no order; with how many sessions each. */
  users: { user: string; sessions: number }[];
  /** How many users are there. */
  total: number;
  /** How many sessions these have on the topic. */
  sessions: number;
}

export class Tally {
  readonly #sessions = new Set<string>();
  readonly #users = new Map<string, number>();

  /** Said twice, a session counts once. */
  add(session: string, user: string): void {
    if (this.#sessions.has(session)) return;
    this.#sessions.add(session);
    this.#users.set(user, (this.#users.get(user) ?? 0) + 1);
  }

  /** @param limit users that are named */
  result(limit: number): Attendance {
    const users: Attendance['users'] = [];
    for (const [user, sessions] of this.#users) {
      if (users.length >= limit) break;
      users.push({ user, sessions });
    }
    return { users, total: this.#users.size, sessions: this.#sessions.size };
  }
}
