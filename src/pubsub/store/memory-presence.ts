/** Who is there, as the memory brokers of one process see it. */
import { type Attendance, Tally } from './attendance.ts';
import { type PresenceEntry, placeOf, placeOfUser } from './broker.ts';

export class MemoryPresence {
  /** By place and session. */
  readonly #places = new Map<string, Map<string, { entry: PresenceEntry; broker: object }>>();

  announce(entries: PresenceEntry[], broker: object): void {
    for (const entry of entries) {
      const place = placeOf(entry);
      let sessions = this.#places.get(place);
      if (sessions === undefined) {
        sessions = new Map();
        this.#places.set(place, sessions);
      }
      sessions.set(entry.session, { entry: { ...entry }, broker });
    }
  }

  withdraw(entries: PresenceEntry[]): void {
    for (const entry of entries) {
      const place = placeOf(entry);
      const sessions = this.#places.get(place);
      sessions?.delete(entry.session);
      if (sessions?.size === 0) this.#places.delete(place);
    }
  }

  of(user: string): PresenceEntry[] {
    const sessions = this.#places.get(placeOfUser(user))?.values() ?? [];
    return [...sessions].map(({ entry }) => ({ ...entry }));
  }

  isOnline(user: string): boolean {
    return this.#places.has(placeOfUser(user));
  }

  attendance(topic: string, limit: number): Attendance {
    const tally = new Tally();
    for (const [session, { entry }] of this.#places.get(topic) ?? []) tally.add(session, entry.user);
    return tally.result(limit);
  }

  /** A broker is closed: none of its sessions is there any more. */
  leave(broker: object): void {
    for (const [place, sessions] of this.#places) {
      for (const [session, entry] of sessions) if (entry.broker === broker) sessions.delete(session);
      if (sessions.size === 0) this.#places.delete(place);
    }
  }
}
