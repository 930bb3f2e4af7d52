/**
 * Who the user is comes from the application's own session cookie: `node examples/cookie-session.mjs`, sign
 * in at http://127.0.0.1:8080/ in two browsers under two names, and write to each other.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { cookieSession, PushServer } from 'tidings';

const script = readFileSync(new URL(import.meta.resolve('tidings/tidings.js')));
const sessions = new Map();
/** Characters. */
const LONGEST = 10_000;
const userOf = (cookies) => sessions.get(cookies.get('session'));

const signIn =
  '<form method="post" action="/login">I am <input name="name" required> <button>Sign in</button></form>';
const mail = `<form method="post" action="/mail">To <input name="to" required> <input name="text" required>
  <button>Send</button></form><ul></ul><script src="/tidings.js"></script><script>
  tidings.connect().on('message', ({ data }) => {
    document.querySelector('ul').append(Object.assign(document.createElement('li'), { textContent: data.from + ': ' + data.text }));
  });
</script>`;

/** Whom somebody says he is. An application asks for a password here. @throws {TypeError} */
function nameIn(form) {
  const name = form.get('name') ?? '';
  if (!/^[\p{L}\p{N} .'-]{1,60}$/u.test(name))
    throw new TypeError('a name has letters and digits, 60 at the most');
  return name;
}

/** The fields of a posted form. @throws {RangeError} for more than anybody writes by hand */
async function formOf(request) {
  let form = '';
  // Read to its end all the same, so that the answer arrives.
  for await (const chunk of request.setEncoding('utf8')) if (form.length <= LONGEST) form += chunk;
  if (form.length > LONGEST) throw new RangeError(`a form has at most ${LONGEST} characters`);
  return new URLSearchParams(form);
}

async function answer(request, response) {
  const [, id] = /(?:^|; )session=([\w-]+)/.exec(request.headers.cookie ?? '') ?? [];
  const user = sessions.get(id);
  if (request.url === '/tidings.js') return response.end(script);
  if (request.method !== 'POST') {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    return response.end(user === undefined ? signIn : mail);
  }
  const form = await formOf(request);
  if (request.url === '/login') {
    const fresh = randomBytes(16).toString('base64url');
    sessions.set(fresh, nameIn(form));
    response.setHeader('Set-Cookie', `session=${fresh}; HttpOnly; SameSite=Lax; Path=/`);
  } else if (user !== undefined) {
    await push.send(form.get('to'), { from: user, text: form.get('text') });
  }
  response.writeHead(303, { Location: '/' }).end();
}

const http = createServer((request, response) => {
  answer(request, response).catch((error) => {
    if (response.destroyed) return; // Who asked is gone.
    // TypeError and RangeError: what was to be sent can't be. All else is the store: it may go well the next time.
    const isUnfit = error instanceof TypeError || error instanceof RangeError;
    if (!isUnfit) console.error(error.message);
    response.writeHead(isUnfit ? 400 : 503, { 'Content-Type': 'text/plain; charset=utf-8' });
    response.end(isUnfit ? error.message : 'That did not work. Please try again.');
  });
});
const push = new PushServer({ server: http, interceptors: [cookieSession(userOf)] });
http.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}/`);
});
process.once('SIGTERM', async () => {
  await push.close({ drain: 1000 });
  http.close();
});
