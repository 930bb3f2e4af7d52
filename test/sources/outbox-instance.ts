/** An instance of its own process, for tests that kill it: `outbox-instance.ts REDIS SOURCE`. */
import { PushServer, redisBroker, source } from '../../src/index.ts';

const [redis = '', url = ''] = process.argv.slice(2);
const push = new PushServer({
  broker: redisBroker(redis),
  retention: { inbox: { maxMessages: 100_000 } },
  log: (level, message) => console.log(level, message),
});
await push.ready;
const running = source(push, url, { prefetch: 30 });
await running.ready;
console.log('ready');
