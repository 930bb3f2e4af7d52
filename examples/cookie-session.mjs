/**
 * Who the user is comes from the application's own session cookie: `node examples/cookie-session.mjs`, sign
 * in at http://127.0.0.1:8080/ in two browsers under two names, and write to each other.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { cookieSession, PushServer } from 'tidings';

const script = readFileSync(new URL(import.meta.resolve('tidings/tidings.js')));
const sessions = new Map();
const userOf = (cookies) => sessions.get(cookies.get('session'));

const signIn =
  '<form method="post" action="/login">I am <input name="name" required> <button>Sign in</button></form>';
const mail = `<form method="post" action="/mail">To <input name="to" required> <input name="text" required>
  <button>Send</button></form><ul></ul><script src="/tidings.js"></script><script>
  tidings.connect().on('message', ({ data }) => {
    document.querySelector('ul').append(Object.assign(document.createElement('li'), { textContent: data.from + ': ' + data.text }));
  });
</script>`;

const http = createServer(async (request, response) => {
  const [, id] = /(?:^|; )session=([\w-]+)/.exec(request.headers.cookie ?? '') ?? [];
  const user = sessions.get(id);
  if (request.url === '/tidings.js') return response.end(script);
  if (request.method !== 'POST') {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    return response.end(user === undefined ? signIn : mail);
  }
  const form = new URLSearchParams(await text(request));
  if (request.url === '/login') {
    const fresh = randomBytes(16).toString('base64url');
    sessions.set(fresh, form.get('name'));
    response.setHeader('Set-Cookie', `session=${fresh}; HttpOnly; SameSite=Lax; Path=/`);
  } else if (user !== undefined) {
    await push.send(form.get('to'), { from: user, text: form.get('text') });
  }
  response.writeHead(303, { Location: '/' }).end();
});
const push = new PushServer({ server: http, interceptors: [cookieSession(userOf)] });
http.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}/`);
});
process.once('SIGTERM', async () => {
  await push.close({ drain: 1000 });
  http.close();
});
