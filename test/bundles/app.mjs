// An application as people write them: a push server with everything, over Redis, and the scripts for its pages.
import { createServer } from 'node:http';
import { jwt, PushServer, queryUser, redisBroker } from 'tidings';
import { pageScripts } from 'tidings/page-scripts';

const scripts = pageScripts({ prefix: '/js' });
const http = createServer((request, response) => {
  if (!scripts(request, response)) response.writeHead(404).end();
});
const push = new PushServer({
  server: http,
  sockjs: { prefix: '/sockjs' },
  broker: redisBroker(process.env.REDIS_URL),
  interceptors: [queryUser('operator')],
  log: (level, message) => console.error(level, message),
});
push.ready.then(() => http.listen(0, '127.0.0.1', () => console.log(`listening on ${http.address().port}`)));
process.on('message', async ({ user, data }) => {
  await push.send(user, data);
  await push.mark(user, { as: 'read' });
});

// What is none of the package's and not in the bundle is said.
const other = new PushServer({ interceptors: [jwt({ secret: 'x'.repeat(32) })], log: () => {} });
other.ready.catch(({ message }) => console.log(message)).finally(() => other.close());
