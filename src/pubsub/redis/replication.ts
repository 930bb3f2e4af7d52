/**
 * What waits for replicas: WAIT blocks its connection and is about what that connection wrote. So whoever waits at
 * the same time shares one, behind one small write of its own: replication is one stream, and a replica that has
 * confirmed that write has all before it.
 */
import { monotonicNow, queueMicrotask } from '../../clock.ts';
import { afterReading } from '../../waiting.ts';
import type { RedisError } from './errors.ts';
import type { RespClient } from './resp-client.ts';

/** Connections of groups that wait at a time: of those that came later, all join the next. */
const MAX_GROUPS = 4;
/** Milliseconds that an answer may take longer than WAIT itself. */
const GRACE = 250;

/** What was written, and whose replication is waited for. */
export interface Replicated {
  /** A key that shows whether it is there: the server that is asked may be another one than it was written to. */
  key: string;
  /** Whether it is, by the value of that key. */
  isThere(value: Buffer | null): boolean;
  /** A key of the same slot, to be written. */
  mark: string;
}

interface Member extends Replicated {
  deadline: number;
  resolve(confirmed: number): void;
  reject(error: Error): void;
}

export class Replication {
  readonly #connect: () => RespClient;
  readonly #idle: RespClient[] = [];
  readonly #all: RespClient[] = [];
  /** Who waits for the next group, by how many replicas they want. */
  readonly #waiting = new Map<number, Member[]>();
  #isPumpScheduled = false;

  /** @param connect makes a connection that may be silent for long */
  constructor(connect: () => RespClient) {
    this.#connect = connect;
  }

  get clients(): readonly RespClient[] {
    return this.#all;
  }

  /**
   * Resolves once so many replicas have the message, or the time is over, with how many are known to.
   *
   * @param timeout milliseconds
   * @throws {RedisError} where the server that is asked answers something else
   */
  confirm(message: Replicated, replicas: number, timeout: number): Promise<number> {
    return new Promise((resolve, reject) => {
      // Whatever the others wait for: nobody waits longer than it said.
      const callOff = afterReading(timeout + GRACE, () => resolve(0));
      const member: Member = {
        ...message,
        deadline: monotonicNow() + timeout,
        resolve(confirmed) {
          callOff();
          resolve(confirmed);
        },
        reject(error) {
          callOff();
          reject(error);
        },
      };
      const group = this.#waiting.get(replicas);
      if (group === undefined) this.#waiting.set(replicas, [member]);
      else group.push(member);
      this.#schedule();
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((client) => client.close()));
  }

  #schedule(): void {
    if (this.#isPumpScheduled) return;
    this.#isPumpScheduled = true;
    // With all whose messages were stored by the same answer.
    queueMicrotask(() => {
      this.#isPumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    for (const [replicas, group] of this.#waiting) {
      let client = this.#idle.pop();
      if (client === undefined) {
        if (this.#all.length >= MAX_GROUPS) return;
        client = this.#connect();
        this.#all.push(client);
      }
      this.#waiting.delete(replicas);
      void this.#wait(client, group, replicas);
    }
  }

  async #wait(client: RespClient, group: Member[], replicas: number): Promise<void> {
    const longest = Math.max(...group.map(({ deadline }) => deadline)) - monotonicNow();
    try {
      // One write: another connection in between would have another server, perhaps, at its end.
      const places = group.map(({ key }) => client.commandBuffers('GET', key));
      const written = client.command('SET', group[0]!.mark, '', 'PX', 1000);
      const waited = client.command('WAIT', replicas, Math.max(1, Math.ceil(longest)));
      const [confirmed, stand] = await Promise.all([waited, Promise.all(places), written]);
      for (const [i, member] of group.entries()) {
        member.resolve(member.isThere(stand[i] as Buffer | null) ? Number(confirmed) : 0);
      }
    } catch (error) {
      for (const member of group) member.reject(error as RedisError);
    }
    this.#idle.push(client);
    if (this.#waiting.size > 0) this.#pump();
  }
}
