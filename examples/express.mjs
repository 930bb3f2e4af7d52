/** tidings beside an Express application on one port: `node examples/express.mjs`. */
import { createServer } from 'node:http';
import express from 'express';
import { PushServer, queryUser } from 'tidings';

const app = express();
const http = createServer(app);
const push = new PushServer({ server: http, interceptors: [queryUser('operator')] });

app.use(express.json());
app.get('/', (_, response) => response.send('POST {"to": "alice", "text": "hello"} to /mail'));
app.post('/mail', async (request, response) => {
  const { to, text } = request.body;
  response.status(201).json(await push.send(to, { text }));
});

http.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}/`);
});
process.once('SIGTERM', async () => {
  await push.close({ drain: 1000 });
  http.close();
});
