/** What an application's handler throws, at once or later, ends its own session and nothing else. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import Ws from 'ws';
import type { Handler, Transport } from '../../src/server/transport.ts';
import { until } from '../support/net.ts';
import { client, type RequestParts, session, startSockJs } from './support.ts';

type Method = 'opened' | 'message' | 'closed';

/** A handler of which one method throws for sessions that ask for it in their first message or their query. */
function failing(method: Method, isAsync: boolean) {
  const told: string[] = [];
  const errors: string[] = [];
  const call = (name: Method) => (transport: Transport, first: unknown, reason: unknown) => {
    if (name === 'closed') told.push(`closed ${first} ${reason}`);
    if (name === 'message' && String(first) === 'good') transport.send('got it');
    if (name !== method || transport.attributes['good'] === true || String(first) === 'good')
      return undefined;
    if (isAsync) return Promise.reject(new Error(`${name} failed`));
    throw new Error(`${name} failed`);
  };
  const handler: Handler<Transport> = {
    opened: (transport, request) => {
      transport.attributes['good'] = request.url?.includes('good');
      return call('opened')(transport, undefined, undefined) as undefined;
    },
    message: call('message') as NonNullable<Handler<Transport>['message']>,
    closed: call('closed') as NonNullable<Handler<Transport>['closed']>,
    transportError: (_, error) => void errors.push(error.message),
  };
  return { handler, told, errors };
}

/** Whatever the process was warned of while `run` ran. */
async function warnings(count: number, run: () => Promise<void>): Promise<string[]> {
  const messages: string[] = [];
  const onWarning = ({ message }: Error): void => void messages.push(message);
  process.on('warning', onWarning);
  try {
    await run();
    await until('the warnings', () => messages.length >= count);
  } finally {
    process.removeListener('warning', onWarning);
  }
  return messages;
}

const headers = { 'Sec-Fetch-Site': 'same-origin' };
const receivers: Record<string, (http: ReturnType<typeof client>, path: string) => Promise<unknown>> = {
  xhr: (http, path) => http.post(`${path}/xhr`),
  xhr_streaming: (http, path) => http.openPost(`${path}/xhr_streaming`),
  eventsource: (http, path) => http.openGet(`${path}/eventsource`),
  htmlfile: (http, path) => http.openGet(`${path}/htmlfile?c=x`, { headers }),
  jsonp: (http, path) => http.get(`${path}/jsonp?c=x`, { headers }),
};
const senders: Record<string, (body: string) => RequestParts> = {
  xhr_send: (body) => ({ body }),
  jsonp_send: (body) => ({
    body: `d=${encodeURIComponent(body)}`,
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
  }),
};

for (const isAsync of [false, true]) {
  const how = isAsync ? 'rejects' : 'throws';

  for (const [name, receive] of Object.entries(receivers)) {
    test(`${name}: a handler whose \`opened\` ${how} ends that session with 1011`, async () => {
      const { handler, told, errors } = failing('opened', isAsync);
      const { port } = await startSockJs({ handler });
      const http = client(port);
      const path = session();
      await receive(http, path);
      await until('the end of the session', () => told.length === 1);
      assert.deepEqual([told, errors], [['closed 1011 internal error'], ['opened failed']]);
      assert.equal((await http.post(`${path}/xhr`)).body, 'c[1011,"internal error"]\n');
      assert.equal((await http.post(`${session()}/xhr?good`)).body, 'o\n');
    });

    for (const [sender, parts] of Object.entries(senders)) {
      test(`${name}, ${sender}: a handler whose \`message\` ${how} ends that session with 1011; the POST is answered`, async () => {
        const { handler, told, errors } = failing('message', isAsync);
        const { port } = await startSockJs({ handler });
        const http = client(port);
        const [bad, good] = [session(), session()];
        await receive(http, bad);
        await http.post(`${good}/xhr`);
        const answer = await http.post(`${bad}/${sender}`, parts('["bad","bad","good"]'));
        assert.ok(answer.status < 300, String(answer.status));
        await until('the end of the session', () => told.length === 1);
        assert.deepEqual([told, errors], [['closed 1011 internal error'], ['message failed']]);
        assert.equal((await http.post(`${bad}/xhr`)).body, 'c[1011,"internal error"]\n');
        await http.post(`${good}/${sender}`, parts('["good"]'));
        assert.equal((await http.post(`${good}/xhr`)).body, 'a["got it"]\n');
      });
    }
  }

  test(`a handler whose \`closed\` ${how} is a warning, whatever ends the session`, async () => {
    const { handler, told } = failing('closed', isAsync);
    const { port, sockjs } = await startSockJs({ handler, disconnectDelay: 300 });
    const http = client(port);
    const messages = await warnings(4, async () => {
      await http.post(`${session()}/xhr`);
      await until('the end for want of a receiver', () => told.length === 1);
      const stream = await http.openPost(`${session()}/xhr_streaming`);
      stream.close();
      await until('the end by the client', () => told.length === 2);
      const ws = new Ws(`ws://127.0.0.1:${port}${session()}/websocket`);
      await once(ws, 'message');
      ws.close();
      await until('the end by the WebSocket', () => told.length === 3);
      await http.openPost(`${session()}/xhr_streaming`);
      sockjs.close();
    });
    assert.deepEqual(messages, Array(4).fill('closed failed'));
  });

  for (const [name, suffix, bad, good] of [
    ['websocket', 'session', '["bad"]', '["good"]'],
    ['the raw websocket', '/echo/websocket', 'bad', 'good'],
  ] as const) {
    for (const method of ['opened', 'message'] as const) {
      test(`${name}: a handler whose \`${method}\` ${how} ends that session with 1011`, async () => {
        const { handler, told, errors } = failing(method, isAsync);
        const { port } = await startSockJs({ handler });
        const path = (): string => (suffix === 'session' ? `${session()}/websocket` : suffix);
        const open = async (query: string): Promise<{ ws: Ws; received: string[] }> => {
          const ws = new Ws(`ws://127.0.0.1:${port}${path()}${query}`);
          const received: string[] = [];
          ws.on('message', (data) => received.push(String(data)));
          ws.on('close', (code) => received.push(`close ${code}`));
          await once(ws, 'open');
          return { ws, received };
        };
        const other = await open('?good');
        const failed = await open('');
        if (method === 'message') failed.ws.send(bad);
        await until('its end', () => failed.received.some((each) => each.startsWith('close')));
        assert.deepEqual([told, errors], [['closed 1011 internal error'], [`${method} failed`]]);
        const end = suffix === 'session' ? 'c[1011,"internal error"]' : 'close 1011';
        assert.ok(failed.received.includes(end), failed.received.join());
        other.ws.send(good);
        await until('an answer to the other', () => other.received.some((each) => each.includes('got it')));
        other.ws.terminate();
      });
    }
  }
}

test('an addressOf that throws answers 500, and ends nothing else', async () => {
  const { port } = await startSockJs({
    addressOf: () => {
      throw new Error('no address');
    },
  });
  const http = client(port);
  await warnings(2, async () => {
    assert.equal((await http.post(`${session()}/xhr`)).status, 500);
    assert.equal((await http.post(`${session()}/xhr_send`, { body: '["a"]' })).status, 404);
    assert.equal((await http.post(`${session()}/xhr_streaming`)).status, 500);
  });
});

test('a bus that fails leaves sessions to this instance', async () => {
  const { port } = await startSockJs({
    bus: {
      instance: 'this',
      listen: () => {},
      say: () => {},
      claim: () => Promise.reject(new Error('no store')),
      release: () => {},
      holders: () => Promise.reject(new Error('no store')),
    },
  });
  const http = client(port);
  const own = session();
  assert.equal((await http.post(`${own}/xhr`)).status, 200);
  assert.equal((await http.post(`${own}/xhr_send`, { body: '["a"]' })).status, 204);
  assert.equal((await http.post(`${session()}/xhr_send`, { body: '["a"]' })).status, 404);
});
