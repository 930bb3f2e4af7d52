/**
 * Whenever an application's code runs during a client's handshake, it may give up: that is one error, one close
 * with 1006, and no connection that is left.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { type ClientOptions, WebSocket } from '../../src/ws.ts';
import { cleanUp } from '../server/support.ts';
import { until } from '../support/net.ts';
import { certificates, noConnection, type Place, place } from './client-support.ts';

type GiveUp = (websocket: WebSocket) => void;

const WAYS: Record<string, GiveUp> = {
  close: (websocket) => websocket.close(),
  'close with a code': (websocket) => websocket.close(1000, 'bye'),
  terminate: (websocket) => websocket.terminate(),
  'close and terminate': (websocket) => {
    websocket.close();
    websocket.terminate();
    websocket.close();
  },
};

/** What has happened to a client. */
interface Story {
  client: WebSocket;
  told: unknown[];
}

function follow(client: WebSocket): Story {
  const told: unknown[] = [];
  client.on('open', () => told.push('open'));
  client.on('error', (error) => told.push(error.message));
  client.on('close', (code, reason) => {
    assert.equal(client.readyState, WebSocket.CLOSED);
    told.push(code, String(reason));
  });
  return { client, told };
}

const GIVEN_UP = ['WebSocket was closed before the connection was established', 1006, ''];

async function isGivenUp(what: string, { client, told }: Story, places: Place[]): Promise<void> {
  await until(`${what}: close`, () => told.includes(1006) || told.includes('open'));
  for (const each of places) await noConnection(each, what);
  assert.deepEqual(told, GIVEN_UP, what);
  assert.equal(client.readyState, WebSocket.CLOSED, what);
}

/** Answers with a status that refuses, and keeps the connection. */
async function refusing(): Promise<Place> {
  const here = await place();
  here.server.removeAllListeners('upgrade');
  here.server.on('request', (_request: IncomingMessage, response) => {
    response.writeHead(401, { 'Content-Length': 4 });
    response.end('no!!');
  });
  return here;
}

function agentFor(url: string): Agent {
  return url.startsWith('wss') ? new SecureAgent({ ca: certificates.ca }) : new Agent();
}

/** A moment at which the application's code runs: it makes a client that gives up then. */
type Moment = (here: Place, giveUp: GiveUp) => WebSocket;

const AT_ANY_SERVER: Record<string, Moment> = {
  'as soon as it is made': ({ url }, giveUp) => {
    const client = new WebSocket(url);
    giveUp(client);
    return client;
  },
  'a tick later': ({ url }, giveUp) => {
    const client = new WebSocket(url);
    process.nextTick(giveUp, client);
    return client;
  },
  'in finishRequest, which does not send it': ({ url }, giveUp) =>
    new WebSocket(url, { finishRequest: (_request, client) => giveUp(client) }),
  'in finishRequest, which sends it all the same': ({ url }, giveUp) =>
    new WebSocket(url, {
      finishRequest: (request, client) => {
        giveUp(client);
        request.end();
      },
    }),
  'in finishRequest, which has sent it': ({ url }, giveUp) =>
    new WebSocket(url, {
      finishRequest: (request, client) => {
        request.end();
        giveUp(client);
      },
    }),
  'in finishRequest, which ends the request, too': ({ url }, giveUp) =>
    new WebSocket(url, {
      finishRequest: (request, client) => {
        giveUp(client);
        request.destroy(new Error('mine'));
      },
    }),
  'in finishRequest with an agent that has no room': ({ url }, giveUp) => {
    const agent = new Agent({ maxSockets: 1 });
    cleanUp(() => agent.destroy());
    follow(
      new WebSocket(url, {
        agent,
        finishRequest: (_request, client) => setImmediate(giveUp, client),
      }),
    );
    return new WebSocket(url, { agent, finishRequest: (_request, client) => giveUp(client) });
  },
  ...Object.fromEntries(
    ['socket', 'finish'].map((event): [string, Moment] => [
      `at the request's event ${event}`,
      ({ url }, giveUp) =>
        new WebSocket(url, {
          finishRequest: (request, client) => {
            request.on(event, () => giveUp(client));
            request.end();
          },
        }),
    ]),
  ),
  'when its socket has connected': ({ url }, giveUp) =>
    new WebSocket(url, {
      finishRequest: (request, client) => {
        request.on('socket', (socket) => socket.on('connect', () => giveUp(client)));
        request.end();
      },
    }),
  'before a slow createConnection has a socket': ({ url, port }, giveUp) => {
    const client: WebSocket = new WebSocket(url, {
      createConnection: ((_options: unknown, done: (error: null, socket: Socket) => void) => {
        setImmediate(() => {
          giveUp(client);
          done(null, connect(port, '127.0.0.1'));
        });
      }) as ClientOptions['createConnection'],
    });
    return client;
  },
  "before an agent's slow createConnection has a socket": ({ url, port }, giveUp) => {
    const agent = new (class extends Agent {
      override createConnection(_options: unknown, done?: (error: null, socket: Socket) => void): undefined {
        setImmediate(() => {
          giveUp(client);
          done?.(null, connect(port, '127.0.0.1'));
        });
      }
    })() as Agent;
    const client: WebSocket = new WebSocket(url, { agent });
    return client;
  },
  'in lookup': ({ port }, giveUp) => {
    const client: WebSocket = new WebSocket(`ws://tidings.invalid:${port}`, {
      lookup: ((_name: string, _options: unknown, done: (...args: unknown[]) => void) => {
        setImmediate(() => {
          giveUp(client);
          done(null, [{ address: '127.0.0.1', family: 4 }]);
        });
      }) as ClientOptions['lookup'],
    });
    return client;
  },
};

const AT_ONE_THAT_ACCEPTS: Record<string, Moment> = {
  ...AT_ANY_SERVER,
  'at the event upgrade': ({ url }, giveUp) => {
    const client = new WebSocket(url);
    client.on('upgrade', () => giveUp(client));
    return client;
  },
  "at the event upgrade, with an agent's socket": ({ url }, giveUp) => {
    const agent = new Agent({ keepAlive: true });
    const client = new WebSocket(url, { agent });
    client.on('upgrade', () => giveUp(client));
    return client;
  },
  "at the request's event upgrade": ({ url }, giveUp) =>
    new WebSocket(url, {
      finishRequest: (request, client) => {
        request.prependListener('upgrade', () => giveUp(client));
        request.end();
      },
    }),
};

function atResponse(
  when: (request: ClientRequest, response: IncomingMessage, giveUp: () => void) => void,
): Moment {
  return ({ url }, giveUp) => {
    const client = new WebSocket(url);
    client.on('unexpected-response', (request, response) => when(request, response, () => giveUp(client)));
    return client;
  };
}

const AT_ONE_THAT_REFUSES: Record<string, Moment> = {
  ...AT_ANY_SERVER,
  'at the event unexpected-response': atResponse((_request, _response, giveUp) => giveUp()),
  'at its end, all read': atResponse((_request, response, giveUp) => response.resume().on('end', giveUp)),
  'at its close, all read': atResponse((_request, response, giveUp) => response.resume().on('close', giveUp)),
  'at the end of the request': atResponse((request, response, giveUp) => {
    response.resume();
    request.on('close', giveUp);
  }),
  'some time after all was read': atResponse((_request, response, giveUp) =>
    response.resume().on('close', () => setTimeout(giveUp, 20)),
  ),
  'in the middle of reading': atResponse((_request, response, giveUp) => response.once('data', giveUp)),
  'after destroying the request': atResponse((request, _response, giveUp) => {
    request.destroy();
    giveUp();
  }),
  'after destroying the response with an error': atResponse((_request, response, giveUp) => {
    response.on('error', () => {}).destroy(new Error('mine'));
    giveUp();
  }),
};

for (const [way, giveUp] of Object.entries(WAYS)) {
  for (const [server, moments, serve] of [
    ['accepts', AT_ONE_THAT_ACCEPTS, place],
    ['refuses', AT_ONE_THAT_REFUSES, refusing],
  ] as const) {
    test(`${way}, at every moment before a server that ${server} is done: one error, one close, no connection`, async () => {
      const here = await serve();
      for (const [what, begin] of Object.entries(moments)) {
        await isGivenUp(what, follow(begin(here, giveUp)), [here]);
      }
    });
  }

  test(`${way}, at every moment of a redirect: one error, one close, no connection`, async () => {
    const there = await place();
    const here = await place(() => there.url);
    const secureThere = await place(undefined, { isSecure: true });
    const secureHere = await place(() => secureThere.url, { isSecure: true });
    const moments: Record<string, Moment> = {
      'at the event redirect': ({ url }) => {
        const client = new WebSocket(url, { followRedirects: true, ca: certificates.ca });
        client.on('redirect', () => giveUp(client));
        return client;
      },
      'at the event redirect, which ends the request with an error': ({ url }) => {
        const client = new WebSocket(url, { followRedirects: true, ca: certificates.ca });
        client.on('redirect', (_to, request) => {
          request.destroy(new Error('mine'));
          giveUp(client);
        });
        return client;
      },
      'in finishRequest': ({ url }) => {
        let count = 0;
        return new WebSocket(url, {
          followRedirects: true,
          ca: certificates.ca,
          finishRequest: (request, client) => {
            if (++count === 2) giveUp(client);
            request.end();
          },
        });
      },
      'in an addRequest': ({ url }) => {
        let count = 0;
        const agent = agentFor(url);
        const { addRequest } = agent as unknown as { addRequest(...args: unknown[]): void };
        const client: WebSocket = new WebSocket(url, {
          followRedirects: true,
          agent: Object.assign(agent, {
            addRequest: (...args: unknown[]) => {
              if (++count === 2) giveUp(client);
              addRequest.apply(agent, args);
            },
          }),
        });
        return client;
      },
      "in an agent's createConnection": ({ url }) => {
        let count = 0;
        const agent = agentFor(url);
        const { createConnection } = agent as unknown as { createConnection(...args: unknown[]): Socket };
        const client: WebSocket = new WebSocket(url, {
          followRedirects: true,
          agent: Object.assign(agent, {
            createConnection: (...args: unknown[]) => {
              if (++count === 2) giveUp(client);
              return createConnection.apply(agent, args);
            },
          }),
        });
        return client;
      },
      'in createConnection, which then throws': ({ url, port }) => {
        let count = 0;
        const client: WebSocket = new WebSocket(url.replace('wss', 'ws'), {
          followRedirects: true,
          createConnection: (() => {
            if (++count === 1) return connect(here.port, '127.0.0.1');
            giveUp(client);
            throw new Error(`mine: ${port}`);
          }) as unknown as ClientOptions['createConnection'],
        });
        return client;
      },
      'in createConnection': () => {
        let count = 0;
        const client: WebSocket = new WebSocket(here.url, {
          followRedirects: true,
          createConnection: ((options: { port: number }) => {
            if (++count === 2) giveUp(client);
            return connect(options.port, '127.0.0.1');
          }) as unknown as ClientOptions['createConnection'],
        });
        return client;
      },
      'in lookup': ({ url }) => {
        let count = 0;
        const client: WebSocket = new WebSocket(url, {
          followRedirects: true,
          ca: certificates.ca,
          createConnection: undefined,
          finishRequest: (request) => {
            if (++count === 2) request.on('socket', () => giveUp(client));
            request.end();
          },
        });
        return client;
      },
    };
    for (const [what, begin] of Object.entries(moments)) {
      await isGivenUp(what, follow(begin(here, giveUp)), [here, there]);
      await isGivenUp(`${what}, TLS`, follow(begin(secureHere, giveUp)), [
        secureHere,
        secureThere,
        here,
        there,
      ]);
    }
  });

  test(`${way} while TLS is being made: in checkServerIdentity and at secureConnect`, async () => {
    const here = await place(undefined, { isSecure: true });
    const client: WebSocket = new WebSocket(here.url, {
      ca: certificates.ca,
      checkServerIdentity: () => {
        giveUp(client);
        return undefined;
      },
    });
    await isGivenUp('checkServerIdentity', follow(client), [here]);
    const other: WebSocket = new WebSocket(here.url, {
      ca: certificates.ca,
      finishRequest: (request) => {
        request.on('socket', (socket) => socket.on('secureConnect', () => giveUp(other)));
        request.end();
      },
    });
    await isGivenUp('secureConnect', follow(other), [here]);
  });
}

test('handshakeTimeout at a server that has refused: one error, one close, no connection, read or not', async () => {
  const here = await refusing();
  for (const read of [
    () => {},
    (_request: ClientRequest, response: IncomingMessage) => void response.resume(),
    (_request: ClientRequest, response: IncomingMessage) =>
      void response.once('data', () => response.pause()),
    (request: ClientRequest) => void request.destroy(),
  ]) {
    const story = follow(new WebSocket(here.url, { handshakeTimeout: 50 }));
    story.client.on('unexpected-response', read);
    await until('close', () => story.told.includes(1006));
    assert.deepEqual(story.told, ['Opening handshake has timed out', 1006, '']);
    await noConnection(here);
  }
});

test('handshakeTimeout is for all redirects together', async () => {
  const here = await place();
  let count = 0;
  here.server.removeAllListeners('upgrade');
  here.server.on('upgrade', (_request: IncomingMessage, socket: Socket) => {
    count++;
    setTimeout(() => socket.end('HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n'), 40);
  });
  const options = { followRedirects: true, maxRedirects: 1_000_000, handshakeTimeout: 200 };
  const story = follow(new WebSocket(here.url, options));
  await until('close', () => story.told.includes(1006));
  assert.deepEqual(story.told, ['Opening handshake has timed out', 1006, '']);
  assert.ok(count >= 1);
  await noConnection(here);
});

test('handshakeTimeout that is no time is a RangeError, and the longest is no short one', async () => {
  for (const wrong of [-1, Number.NaN, 'soon', {}, 2 ** 31, Number.POSITIVE_INFINITY]) {
    assert.throws(() => new WebSocket('ws://127.0.0.1:1', { handshakeTimeout: wrong as number }), RangeError);
  }
  const here = await place();
  for (const long of [0, 1.5e9, 2 ** 31 - 1]) {
    const client = new WebSocket(here.url, { handshakeTimeout: long });
    await once(client, 'open');
    client.terminate();
  }
});

test('a refusal that a listener has read to its end leaves no connection, even if nobody closes', async () => {
  const here = await refusing();
  const story = follow(new WebSocket(here.url));
  let body = '';
  story.client.on('unexpected-response', (_request, response) => {
    response.on('data', (chunk) => {
      body += chunk;
    });
  });
  await until('the body', () => body === 'no!!');
  await noConnection(here);
  assert.deepEqual(story.told, [], 'the listener has it in its hands, as in ws');
  story.client.close();
  await isGivenUp('closed later', story, [here]);
});

test("an agent's socket goes back to it with a refusal that was read, and giving up leaves it in peace", async () => {
  const here = await refusing();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  cleanUp(() => agent.destroy());
  const sockets = new Set<unknown>();
  here.server.on('connection', (socket: Socket) => sockets.add(socket));
  for (let turn = 0; turn < 3; turn++) {
    const story = follow(new WebSocket(here.url, { agent }));
    story.client.on('unexpected-response', (_request, response) => response.resume());
    await until('the socket is free', () => Object.keys(agent.freeSockets).length === 1);
    story.client.terminate();
    await isGivenUp('given up', story, []);
  }
  assert.equal(sockets.size, 1);
});

test('signal: an AbortError whenever it comes, before, during and behind a refusal; nothing once it is open', async () => {
  const aborted = ['The operation was aborted', 1006, ''];
  const early = await place();
  const before = follow(new WebSocket(early.url, { signal: AbortSignal.abort('why') }));
  const errors: Error[] = [];
  before.client.on('error', (error) => errors.push(error));
  await until('close', () => before.told.includes(1006));
  assert.deepEqual(before.told, aborted);
  assert.equal(before.client.url, `${early.url}/`);
  assert.deepEqual(
    [errors[0]!.name, (errors[0] as { code?: string }).code, errors[0]!.cause],
    ['AbortError', 'ABORT_ERR', 'why'],
  );
  assert.equal(early.requests.length, 0);

  for (const serve of [place, refusing]) {
    const here = await serve();
    const controller = new AbortController();
    const story = follow(new WebSocket(here.url, { signal: controller.signal, finishRequest: () => {} }));
    await until('a connection', () => here.sockets.size === 1);
    controller.abort();
    await until('close', () => story.told.includes(1006));
    assert.deepEqual(story.told, aborted);
    await noConnection(here);
  }

  const refused = await refusing();
  const controller = new AbortController();
  const behind = follow(new WebSocket(refused.url, { signal: controller.signal }));
  behind.client.on('unexpected-response', (_request, response) =>
    response.resume().on('close', () => controller.abort()),
  );
  await until('close', () => behind.told.includes(1006));
  assert.deepEqual(behind.told, aborted);

  const late = new AbortController();
  const opened = follow(new WebSocket(early.url, { signal: late.signal }));
  await until('open', () => opened.told.includes('open'));
  late.abort();
  opened.client.close(1000);
  await until('close', () => opened.told.length > 1);
  assert.deepEqual(opened.told, ['open', 1000, '']);
});

test("what finishRequest throws is the constructor's error, and no connection is left", async () => {
  const here = await place();
  let client: WebSocket | undefined;
  const told: unknown[] = [];
  assert.throws(
    () =>
      new WebSocket(here.url, {
        handshakeTimeout: 60_000,
        finishRequest: (request, websocket) => {
          request.end();
          client = websocket;
          websocket.on('open', () => told.push('open'));
          throw new Error('mine');
        },
      }),
    { message: 'mine' },
  );
  await until('it came', () => client !== undefined);
  await noConnection(here);
  assert.deepEqual(told, []);
});

test('what finishRequest or an agent throws for a redirect is one error and one close', async () => {
  const there = await place();
  const here = await place(() => there.url);
  let count = 0;
  const failing = follow(
    new WebSocket(here.url, {
      followRedirects: true,
      finishRequest: (request) => {
        if (++count === 2) throw new Error('mine');
        request.end();
      },
    }),
  );
  await until('close', () => failing.told.includes(1006));
  assert.deepEqual(failing.told, ['mine', 1006, '']);
  for (const each of [here, there]) await noConnection(each);
});

for (const event of ['redirect', 'upgrade', 'unexpected-response'] as const) {
  test(`what a listener of ${event} throws is thrown on, and leaves no connection`, async () => {
    const there = event === 'unexpected-response' ? await refusing() : await place();
    const here = event === 'redirect' ? await place(() => there.url) : there;
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const uncaught: Error[] = [];
    process.on('uncaughtException', (error) => uncaught.push(error));
    try {
      const story = follow(new WebSocket(here.url, { followRedirects: true }));
      story.client.on(event, () => {
        throw new Error('mine');
      });
      await until('close', () => story.told.includes(1006));
      assert.deepEqual(
        uncaught.map(({ message }) => message),
        ['mine'],
      );
      assert.deepEqual(story.told, ['mine', 1006, '']);
      for (const each of [here, there]) await noConnection(each);
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
  });
}
