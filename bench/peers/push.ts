/**
 * The push server: what a page sends goes to the inbox of the one user that all pages are, through Redis if
 * there is one. Limits that a load generator would meet are raised, none is off.
 */
import { PushServer, queryUser, redisBroker } from '../../src/index.ts';
import { listening, peerOptions, portOf } from './peer-options.ts';

const { port, host, redis } = await peerOptions();
const push = new PushServer({
  port,
  host,
  interceptors: [queryUser('operator')],
  limits: { sessionsPerUser: 100_000, messagesPerSecond: 1_000_000 },
  ...(redis === '' ? {} : { broker: redisBroker(redis) }),
  handler: {
    message(_session, data) {
      void push.send('bench', data.toString());
    },
  },
});
await push.ready;
listening('ws', host, portOf(push));
