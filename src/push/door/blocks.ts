/** Who is kept out for a time, by the user's name or the login's, on all instances. */
import type { ControlLog, ControlRecord, RecordChange } from '../../pubsub/store/control.ts';
import { loginProblem, userProblem } from '../talk/names.ts';

/** Who: a user's name, or one of these. */
export type Blocked = string | { user: string } | { login: string };

/** Who is kept out, as `push.blocks()` lists it. */
export interface Block {
  /** The user; or `login` is there. */
  user?: string;
  /** The login, as an interceptor has named it. */
  login?: string;
  /** Milliseconds since 1970; left out: until `unblock`. */
  until?: number;
  /** What pages are told; empty where nothing was given. */
  reason: string;
}

const PREFIX = 'block ';

/** @throws {TypeError} for a name that can't be one */
export function whoOf(blocked: Blocked): { user: string } | { login: string } {
  const who = typeof blocked === 'string' ? { user: blocked } : blocked;
  if (who === null || typeof who !== 'object') throw new TypeError('a block is of a user or a login');
  const { user, login } = who as { user?: unknown; login?: unknown };
  if ((user === undefined) === (login === undefined)) throw new TypeError('a block is of a user or a login');
  const problem = user === undefined ? loginProblem(login) : userProblem(user);
  if (problem !== undefined) throw new TypeError(problem);
  return user === undefined ? { login: login as string } : { user: user as string };
}

/** @param block undefined to lift it */
export function changeOf(who: { user: string } | { login: string }, block: Block | undefined): RecordChange {
  const key = 'user' in who ? keyOf('user', who.user) : keyOf('login', who.login);
  if (block === undefined) return { key, record: undefined };
  const { reason, until = Number.POSITIVE_INFINITY } = block;
  return { key, record: { value: JSON.stringify({ reason }), until } };
}

export class Blocks {
  readonly #log: ControlLog;

  constructor(log: ControlLog) {
    this.#log = log;
  }

  /** The block that keeps somebody out, if there is one. */
  of(user: string | undefined, login: string | undefined): Block | undefined {
    return (
      (user === undefined ? undefined : this.#find('user', user)) ??
      (login === undefined ? undefined : this.#find('login', login))
    );
  }

  all(): Block[] {
    const blocks: Block[] = [];
    for (const [key, record] of this.#log.records()) {
      const [, kind, name] = /^block (user|login) (.*)$/s.exec(key) ?? [];
      if (kind !== undefined && name !== undefined)
        blocks.push(blockOf(kind as 'user' | 'login', name, record));
    }
    return blocks;
  }

  #find(kind: 'user' | 'login', name: string): Block | undefined {
    const record = this.#log.record(keyOf(kind, name));
    return record && blockOf(kind, name, record);
  }
}

function keyOf(kind: 'user' | 'login', name: string): string {
  return `${PREFIX}${kind} ${name}`;
}

function blockOf(kind: 'user' | 'login', name: string, { value, until }: ControlRecord): Block {
  let reason = '';
  try {
    ({ reason } = JSON.parse(value) as { reason: string });
  } catch {
    // Whatever it says, it is a block.
  }
  return { [kind]: name, ...(Number.isFinite(until) && { until }), reason: String(reason ?? '') };
}
