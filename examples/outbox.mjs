/**
 * An order and the message about it are written in one transaction: either both are there, or none. tidings reads the table
 * and sends the message: `DATABASE_URL=postgres://localhost/app node examples/outbox.mjs`, open http://127.0.0.1:8080/?user=alice
 * and order something. Needs: npm install pg
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import pg from 'pg';
import { PushServer, queryUser, source } from 'tidings';

const connectionString = process.env.DATABASE_URL ?? 'postgres://localhost/app';
const database = new pg.Pool({ connectionString });
database.on('error', (error) => console.error(error.message));
await database.query(
  'CREATE TABLE IF NOT EXISTS orders (number serial PRIMARY KEY, customer text NOT NULL, what text NOT NULL)',
);

/** @returns its number. Where anything in it fails, there is no order, and nobody is told of one. */
async function order(customer, what) {
  const client = await database.connect();
  try {
    await client.query('BEGIN');
    const { rows } = await client.query(
      'INSERT INTO orders (customer, what) VALUES ($1, $2) RETURNING number',
      [customer, what],
    );
    const { number } = rows[0];
    await client.query('INSERT INTO tidings_outbox (user_name, data) VALUES ($1, $2)', [
      customer,
      JSON.stringify({ number, what }),
    ]);
    // Somebody looks at it, and does not like it.
    if (what === 'nothing') throw new RangeError('nobody can order nothing');
    await client.query('COMMIT');
    return number;
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

const script = readFileSync(new URL(import.meta.resolve('tidings/tidings.js')));
const page = `<!doctype html><form><input name="what" placeholder="what" required> <button>Order</button></form><ul></ul>
<script src="/tidings.js"></script><script>
const user = new URLSearchParams(location.search).get('user') ?? 'alice';
const push = tidings.connect('/socketServer?user=' + encodeURIComponent(user));
push.on('message', ({ data: { number, what } }) => {
  document.querySelector('ul').append(Object.assign(document.createElement('li'), { textContent: number + ': ' + what }));
});
document.querySelector('form').onsubmit = (event) => {
  event.preventDefault();
  const what = event.target.elements.what.value;
  fetch('/orders?' + new URLSearchParams({ user, what }), { method: 'POST' });
};
</script>`;

const http = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  if (request.method === 'POST' && pathname === '/orders') {
    try {
      const number = await order(searchParams.get('user'), searchParams.get('what'));
      response.writeHead(201, { 'Content-Type': 'application/json' }).end(JSON.stringify({ number }));
    } catch (error) {
      response.writeHead(409, { 'Content-Type': 'text/plain' }).end(error.message);
    }
  } else if (pathname === '/tidings.js') {
    response.writeHead(200, { 'Content-Type': 'text/javascript' }).end(script);
  } else response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(page);
});

const push = new PushServer({ server: http, interceptors: [queryUser('user')] });
const outbox = source(push, connectionString);
await outbox.ready;
http.listen(process.env.PORT ?? 8080, '127.0.0.1');
await once(http, 'listening');
console.log(`listening on http://127.0.0.1:${http.address().port}/`);

process.once('SIGTERM', async () => {
  await push.close();
  http.close();
  http.closeAllConnections();
  await database.end();
});
