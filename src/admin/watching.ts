/** The part of the admin API that watches: all instances, and the frames of one user as they come and go. */

import { clearInterval, setInterval } from '../clock.ts';
import type { InstanceReport } from '../push/watch/fleet.ts';
import type { FollowSettings, OnFollowed } from '../push/watch/following.ts';
import type { Call, Route } from './route.ts';
import { ref } from './schemas.ts';

export interface WatchTarget {
  instances(): Promise<InstanceReport[]>;
  follow(user: string, told: OnFollowed, settings: FollowSettings): () => void;
}

/** Milliseconds after which a stream says that it is there. */
const ALIVE = 10_000;
/** Bytes that may wait for somebody who follows: what comes then is only counted. */
const MOST_WAITING = 512 * 1024;

/** @param withData whether who follows a user is told what is sent, and not only that it is */
export function watchRoutes(target: WatchTarget, withData: boolean): Route[] {
  return [
    {
      method: 'GET',
      path: '/api/instances',
      scope: 'read',
      operation: 'listInstances',
      summary: 'All instances that answer, and what each of them is doing.',
      answers: { 200: { description: 'The instances, by name.', schema: ref('Instances') } },
      handle: async () => ({ status: 200, body: await target.instances() }),
    },
    {
      method: 'GET',
      path: '/api/users/{user}/frames',
      scope: 'read',
      operation: 'followUser',
      summary:
        'What goes to the user’s pages and comes from them, on all instances, as it happens; without end.',
      answers: {
        200: {
          description: 'An event in each line, and `{"event":"alive"}` every ten seconds.',
          schema: ref('FrameEvent'),
          type: 'application/x-ndjson',
        },
      },
      errors: { 429: ['too_many_followers'] },
      handle: (call) => stream(target, call, withData),
    },
  ];
}

function stream(target: WatchTarget, { request, response, names }: Call, withData: boolean): undefined {
  let dropped = 0;
  const write = (events: readonly object[]): void => {
    if (response.writableLength > MOST_WAITING) {
      dropped += events.length;
      return;
    }
    const lost = dropped > 0 ? [{ event: 'dropped', count: dropped }] : [];
    dropped = 0;
    response.write([...lost, ...events].map((event) => `${JSON.stringify(event)}\n`).join(''));
  };
  const told: OnFollowed = (events, more) => {
    dropped += more;
    write(events);
  };
  const end = target.follow(names['user']!, told, { data: withData, ended: () => response.end() });
  response.writeHead(200, {
    'Content-Type': 'application/x-ndjson; charset=utf-8',
    'Cache-Control': 'no-store',
    // nginx would wait until there is enough to send.
    'X-Accel-Buffering': 'no',
  });
  if (request.method === 'HEAD') {
    end();
    response.end();
    return undefined;
  }
  write([{ event: 'following', data: withData }]);
  const timer = setInterval(() => write([{ event: 'alive' }]), ALIVE);
  response.once('close', () => {
    clearInterval(timer);
    end();
  });
  return undefined;
}
