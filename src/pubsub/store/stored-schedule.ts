/**
 * The schedule in a store that instances share: what is added in one turn goes in one call, and what can be done twice is
 * tried again. Each store has its own calls.
 */
import type { Channels } from './channels.ts';
import { tried } from './failures.ts';
import type { Faults } from './faults.ts';
import { JoinedCalls, type Part } from './joined-calls.ts';
import { PAYLOAD_KINDS } from './payload-kind.ts';
import { messageId } from './random-id.ts';
import {
  BELL,
  type Damaged,
  type FailedMessage,
  type LaterMessage,
  type LaterSettings,
  type ListedPage,
  type Listing,
  type Schedule,
  type Settled,
  type Taken,
  tooMany,
  type Wanted,
} from './schedule.ts';

/** Bytes that a message counts besides its payload. */
const OVERHEAD = 300;

export interface Addition {
  message: LaterMessage;
  /** Tells what an attempt has left whose answer got lost. */
  token: string;
}

/** What became of an addition. */
export type Added = { at: number; wasThere: boolean } | Error | 'full';

/** The calls of a store: as those of `Schedule`, but each is made once. */
export interface ScheduleStore extends Omit<Schedule, 'add'> {
  /** @throws {TypeError} for a message that can't be kept */
  check?(message: LaterMessage): void;

  /** @param most how many may be scheduled at once; 0: no limit */
  add(additions: readonly Addition[], most: number): Promise<Added[]>;
}

interface Joined extends Addition, Part {
  most: number;
}

export class StoredSchedule implements Schedule {
  readonly #store: ScheduleStore;
  readonly #channels: Channels;
  readonly #faults: Faults;
  readonly #maxWait: number;
  readonly #closing = new AbortController();
  readonly #additions = new JoinedCalls<Joined, Exclude<Added, 'full'>>((additions) => this.#add(additions));

  /** @param maxWait milliseconds that something is tried again while the store is away or refuses */
  constructor(store: ScheduleStore, channels: Channels, faults: Faults, maxWait: number) {
    this.#store = store;
    this.#channels = channels;
    this.#faults = faults;
    this.#maxWait = maxWait;
  }

  async add(message: LaterMessage, most: number): Promise<{ at: number; wasThere: boolean }> {
    this.#store.check?.(message);
    const bytes = message.payload.length + OVERHEAD;
    const addition = { message, token: messageId(), most, count: 1, bytes };
    return this.#tried(async () => {
      const answer = await this.#additions.add(undefined, addition);
      if (answer instanceof Error) throw answer;
      return answer;
    });
  }

  async #add(additions: Joined[]): Promise<Exclude<Added, 'full'>[]> {
    const least = Math.min(...additions.map(({ most }) => most || Number.POSITIVE_INFINITY));
    const most = Number.isFinite(least) ? least : 0;
    const answers = await this.#store.add(additions, most);
    return answers.map((answer) => (answer === 'full' ? tooMany(most) : answer));
  }

  cancel(id: string): Promise<boolean> {
    return this.#tried(() => this.#store.cancel(id));
  }

  list(which: Listing): Promise<ListedPage> {
    return this.#tried(() => this.#store.list(which));
  }

  failed(limit: number): Promise<FailedMessage[]> {
    return this.#tried(() => this.#store.failed(limit));
  }

  async take(holder: string, wanted: Wanted): Promise<Taken> {
    try {
      return await this.#about(this.#store.take(holder, wanted));
    } catch (error) {
      if (!this.#channels.failures.isForbidden(error)) throw error;
      // Whoever has never scheduled anything misses nothing.
      const { message } = error as Error;
      this.#faults.note(`messages that are scheduled are not sent: ${message}`, {
        event: 'schedule-forbidden',
        error: message,
      });
      return { state: 'none' };
    }
  }

  settle(holder: string, outcomes: readonly Settled[], isLast?: boolean): Promise<void> {
    return this.#about(this.#store.settle(holder, outcomes, isLast));
  }

  /** Tries nothing again any more; what is under way settles. */
  close(): void {
    this.#closing.abort();
  }

  /** What can be done twice. */
  #tried<T>(attempt: () => Promise<T>): Promise<T> {
    const trying = { maxWait: this.#maxWait, isHarmless: true, signal: this.#closing.signal };
    return this.#about(tried(this.#channels.failures, attempt, trying));
  }

  #about<T>(answer: Promise<T>): Promise<T> {
    return this.#channels.about('schedule', BELL, answer);
  }
}

/** What is kept of a message besides what the store has to know. */
export function encodeAbout({ settings, kind }: LaterMessage): string {
  return JSON.stringify({ ...settings, kind });
}

/** @param about as `encodeAbout` has it */
export function decodeLater(
  about: string,
  message: Pick<LaterMessage, 'id' | 'channel' | 'payload' | 'at'>,
): LaterMessage | Damaged {
  try {
    const { kind, ...settings } = JSON.parse(about) as LaterSettings & Pick<LaterMessage, 'kind'>;
    if (!PAYLOAD_KINDS.includes(kind)) throw new TypeError(`there is no kind ${String(kind)}`);
    return { ...message, kind, settings };
  } catch (error) {
    return {
      id: message.id,
      damage: `what the store keeps of it can't be read: ${(error as Error).message}`,
    };
  }
}
