/**
 * Has the application asked about a user again on all instances, each about its own pages, and gathers what has come of
 * it: that it is asked is said by the control log, which nobody can miss; the outcome comes by the broker's channels.
 */
import { randomBytes } from 'node:crypto';
import type { Log } from '../../log-fields.ts';
import type { Broker } from '../../pubsub/store/broker.ts';
import { afterReading } from '../../waiting.ts';
import type { Commands } from '../commands.ts';
import { explain } from '../explain.ts';
import type { SessionRegistry } from '../pages/registry.ts';
import type { Rechecked, Rechecks } from './recheck.ts';

/** No topic and no user has a name with a line break. */
const PREFIX = 'recheck\n';
const KIND = 'recheck';
/** Milliseconds for the outcomes of other instances: longer than a question may wait and take, by default. */
const PATIENCE = 10_000;

export interface RecheckCommandParts {
  instance: string;
  broker: Pick<Broker, 'notify'>;
  commands: Pick<Commands, 'on' | 'say'>;
  rechecks: Rechecks;
  registry: SessionRegistry;
  log: Log;
}

/** A command whose outcome is being gathered. */
interface Gathering {
  sum: Rechecked;
  changed(): void;
}

export class RecheckCommand {
  /** What this instance listens to at the broker. */
  readonly channel: string;
  readonly #parts: RecheckCommandParts;
  readonly #gatherings = new Map<string, Gathering>();

  constructor(parts: RecheckCommandParts) {
    this.#parts = parts;
    this.channel = PREFIX + parts.instance;
    parts.commands.on(KIND, ({ user, instance, id }) => {
      if (typeof user !== 'string' || typeof instance !== 'string' || typeof id !== 'string') return 0;
      return instance === parts.instance ? 0 : this.#obey(user, instance, id);
    });
  }

  /** @throws {UnconfirmedError} where it can't be promised that every instance has heard of it */
  async recheck(user: string): Promise<Rechecked> {
    const id = randomBytes(12).toString('base64url');
    const { instance, commands, rechecks, registry } = this.#parts;
    const gathering = { sum: { sessions: 0, ended: 0, unanswered: 0 }, changed: () => {} };
    this.#gatherings.set(id, gathering);
    try {
      // Here at once, also while the store is away.
      const own = rechecks.recheck(user, registry.of(user)).outcome;
      const others = await commands.say(KIND, { user, instance, id });
      await this.#complete(gathering, others);
      const { sum } = gathering;
      const { sessions, ended, unanswered } = await own;
      return {
        sessions: sessions + others,
        ended: ended + sum.ended,
        unanswered: unanswered + sum.unanswered + Math.max(0, others - sum.sessions),
      };
    } finally {
      this.#gatherings.delete(id);
    }
  }

  /** Something was said on `channel`, perhaps by another program. */
  heard(payload: Buffer): void {
    let said: Partial<Record<string, unknown>> | null;
    try {
      said = JSON.parse(payload.toString());
    } catch {
      // Anybody may PUBLISH there: it is no answer of an instance.
      return;
    }
    const { id, sessions, ended, unanswered } = said ?? {};
    if (typeof id !== 'string' || !isCount(sessions) || !isCount(ended) || !isCount(unanswered)) return;
    this.#add(id, { sessions, ended, unanswered });
  }

  #obey(user: string, asker: string, id: string): number {
    const { broker, rechecks, registry, log } = this.#parts;
    const { sessions, outcome } = rechecks.recheck(user, registry.of(user));
    if (sessions === 0) return 0;
    const tell = async (): Promise<void> => {
      const told = JSON.stringify({ id, ...(await outcome), sessions });
      await broker.notify(PREFIX + asker, Buffer.from(told));
    };
    tell().catch((error) =>
      log('warn', `what came of asking again could not be told: ${explain(error)}`, {
        event: 'recheck-untold',
        error: explain(error),
      }),
    );
    return sessions;
  }

  #add(id: string, { sessions, ended, unanswered }: Rechecked): void {
    const gathering = this.#gatherings.get(id);
    if (gathering === undefined) return;
    gathering.sum.sessions += sessions;
    gathering.sum.ended += ended;
    gathering.sum.unanswered += unanswered;
    gathering.changed();
  }

  /** Resolves when the outcome of so many sessions is known, or it has taken too long. */
  #complete(gathering: Gathering, sessions: number): Promise<void> {
    return new Promise((resolve) => {
      const callOff = afterReading(PATIENCE, resolve);
      gathering.changed = () => {
        if (gathering.sum.sessions < sessions) return;
        callOff();
        resolve();
      };
      gathering.changed();
    });
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
