/** tidings beside an Express application on one port: `node examples/express.mjs`, then http://127.0.0.1:8080/?operator=alice */
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import express from 'express';
import { PushServer, queryUser } from 'tidings';

const app = express();
const http = createServer(app);
// Believes the bare name in the address, which is for trying out: cookie-session.mjs has a sign-in.
const push = new PushServer({ server: http, interceptors: [queryUser('operator')] });
const script = fileURLToPath(import.meta.resolve('tidings/tidings.js'));

const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Mail</title>
<form>To <input name="to" required> <input name="text" required> <button>Send</button> <output></output></form>
<ul></ul>
<script src="/tidings.js"></script>
<script>
  const user = new URLSearchParams(location.search).get('operator') ?? 'alice';
  tidings.connect({ user }).on('message', ({ data }) => {
    document.querySelector('ul').append(Object.assign(document.createElement('li'), { textContent: data.text }));
  });
  const form = document.querySelector('form');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const body = JSON.stringify(Object.fromEntries(new FormData(form)));
    const headers = { 'Content-Type': 'application/json' };
    const answer = await fetch('/mail', { method: 'POST', headers, body }).catch(() => undefined);
    form.querySelector('output').textContent = answer?.ok ? 'Sent' : (await answer?.text()) ?? 'No answer';
  });
</script>`;

app.get('/', (_, response) => response.send(page));
app.get('/tidings.js', (_, response) => response.sendFile(script));
app.post('/mail', express.json({ limit: '10kb' }), async (request, response) => {
  const { to, text } = request.body ?? {};
  if (typeof to !== 'string' || typeof text !== 'string')
    throw new TypeError('send {"to": "alice", "text": "hello"}');
  response.status(201).json(await push.send(to, { text }));
});
// Express 5 hands it what a handler throws, later as well. TypeError and RangeError: what was to be sent can't be. What
// Express says itself has a status. All else is the store: it may go well the next time.
app.use((error, _request, response, _next) => {
  const isUnfit = error instanceof TypeError || error instanceof RangeError;
  const status = error.status ?? (isUnfit ? 400 : 503);
  if (status >= 500) console.error(error.message);
  response
    .status(status)
    .type('text')
    .send(status < 500 ? error.message : 'That did not work. Please try again.');
});

http.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}/`);
});
process.once('SIGTERM', async () => {
  await push.close({ drain: 1000 });
  http.close();
});
