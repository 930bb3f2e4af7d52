/** Following a user: what goes to and comes from his sessions, on whichever instances they are, for one who looks on. */
import { randomBytes } from 'node:crypto';
import { clearInterval, setInterval } from '../../clock.ts';
import type { Log } from '../../log-fields.ts';
import { attempt } from '../../server/handler-calls.ts';
import { explain, explainFully } from '../explain.ts';
import { isRecord } from '../is-record.ts';
import type { WatchBus } from './bus.ts';
import { FOLLOW_LEASE, type FollowedEvent } from './followed.ts';

/** Who may be looking on through one instance. */
const MOST = 20;

/** As many are following somebody through this instance as may be. */
export class TooManyFollowersError extends Error {
  /** The same for programs. */
  readonly code = 'TOO_MANY_FOLLOWERS';

  constructor() {
    super(`${MOST} are following somebody through this instance, which is as many as may be`);
    this.name = 'TooManyFollowersError';
  }
}

/** Settings of `push.follow`. */
export interface FollowSettings {
  /** Whether what is sent is told as well, and not only that it is. Default false. */
  data?: boolean;
  /** Called where it ends by itself, as the push server is closed. */
  ended?(): void;
}

/** Told of each event; and of how many frames there were more than can be told. */
export type OnFollowed = (events: readonly FollowedEvent[], dropped: number) => void;

export class Following {
  readonly #bus: WatchBus;
  readonly #log: Log;
  readonly #followers = new Map<string, { told: OnFollowed; end(): void; ended: (() => void) | undefined }>();

  constructor(bus: WatchBus, log: Log) {
    this.#bus = bus;
    this.#log = log;
    bus.on('followed', ({ id, events, dropped }) => {
      const follower = typeof id === 'string' ? this.#followers.get(id) : undefined;
      if (follower === undefined || !Array.isArray(events) || !Number.isSafeInteger(dropped)) return;
      this.#tell(() => follower.told(events.filter(isRecord), dropped as number));
    });
  }

  /** @returns ends it. @throws {TooManyFollowersError} */
  follow(user: string, told: OnFollowed, { data = false, ended }: FollowSettings): () => void {
    if (this.#followers.size >= MOST) throw new TooManyFollowersError();
    const id = randomBytes(12).toString('base64url');
    const say = (): void => this.#bus.tellAll('follow', { id, user, data });
    const timer = setInterval(say, FOLLOW_LEASE / 3).unref();
    const end = (): void => {
      clearInterval(timer);
      if (this.#followers.delete(id)) this.#bus.tellAll('unfollow', { id });
    };
    this.#followers.set(id, { told, end, ended });
    say();
    return end;
  }

  close(): void {
    for (const { end, ended } of [...this.#followers.values()]) {
      end();
      this.#tell(() => ended?.());
    }
  }

  /** Who looks on is the application's: what it throws ends nothing. */
  #tell(call: () => unknown): void {
    attempt(call, (error) =>
      this.#log('error', `who follows a user threw: ${explainFully(error)}`, {
        event: 'handler-failed',
        error: explain(error),
      }),
    );
  }
}
