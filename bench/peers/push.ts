/**
 * The push server: what a page sends goes to the inbox of its user, through Redis if there is one. Limits that a load
 * generator would meet are raised, none is off.
 */
import { PushServer, queryUser, redisBroker } from '../../src/index.ts';
import { listening, peerOptions, portOf } from './peer-options.ts';
import { wrong } from './wrong.ts';

const { port, host, redis } = await peerOptions();
const push = new PushServer({
  port,
  host,
  interceptors: [queryUser('operator')],
  authorize: { subscribe: () => true },
  limits: { sessionsPerUser: 100_000, messagesPerSecond: 1_000_000 },
  ...(redis === '' ? {} : { broker: redisBroker(redis) }),
  // Nothing of what is measured is worth a warning.
  log: (level, message) => {
    if (level !== 'info') wrong(new Error(`the log: ${message}`));
  },
  handler: {
    transportError: (_session, error) => wrong(error),
    message(session, data) {
      push.send(session.user, data.toString()).catch(wrong);
    },
  },
});
await push.ready;
listening('ws', host, portOf(push));
