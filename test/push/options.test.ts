/** Options that there are not, or that can't be: refused at once, by name, with what was probably meant. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import {
  askApplication,
  jwt,
  MemoryStore,
  memoryBroker,
  PushServer,
  queryUser,
  redisBroker,
  signedTicket,
  signTicket,
  signTopicTicket,
  TicketError,
  verifyTicket,
} from '../../src/index.ts';

const secret = 'a secret of more than sixteen bytes';

describe('PushServer', () => {
  const refused: [what: string, options: object, message: RegExp][] = [
    ['a name', { brocker: memoryBroker() }, /^PushServer: there is no brocker; is broker meant\?$/],
    ['another case', { checkinterval: 5 }, /there is no checkinterval; is checkInterval meant/],
    ['what is nested', { pingInterval: 5 }, /there is no pingInterval/],
    ['a limit at the top', { subscriptions: 5 }, /there is no subscriptions; is limits\.subscriptions meant/],
    ['a limit', { limits: { mesage: 5 } }, /^limits: there is no mesage; is message meant\?$/],
    [
      'heartbeat',
      { heartbeat: { pingInterval: 5 } },
      /^heartbeat: there is no pingInterval; is ping meant\?$/,
    ],
    ['retention', { retention: { maxAge: 5 } }, /^retention: there is no maxAge; there are inbox and topic$/],
    [
      'retention of inboxes',
      { retention: { inbox: { maxMesages: 5 } } },
      /^retention\.inbox: .*maxMessages meant/,
    ],
    ['retention of topics', { retention: { topic: { age: 5 } } }, /^retention\.topic: .*is maxAge meant/],
    [
      'a topic',
      { topics: { news: { overflw: 'close' } } },
      /^topics\["news"\]: there is no overflw; is overflow/,
    ],
    ['a topic, one deeper', { topics: { news: { maxAge: 5 } } }, /no maxAge; is retention\.maxAge meant/],
    ['retention of a topic', { topics: { news: { retention: { maxage: 5 } } } }, /is maxAge meant/],
    ['expiry', { expiry: { leaway: 5 } }, /^expiry: there is no leaway; is leeway meant/],
    [
      'sockjs',
      { port: 0, sockjs: { prefix: '/s', heartbeat: 5 } },
      /^sockjs: there is no heartbeat; is heartbeatDelay/,
    ],
    ['policy', { policy: { alow: [] } }, /^policy: there is no alow; is allow meant/],
    [
      'a grant',
      { policy: { allow: [{ domain: '*', port: 80 }] } },
      /^policy\.allow: there is no port; is ports meant/,
    ],
    [
      'references',
      { references: { resolve() {}, channels: 'm' } },
      /^references: there is no channels; is channel/,
    ],
    [
      'authorize',
      { authorize: { subcribe: () => true } },
      /^authorize: there is no subcribe; is subscribe meant/,
    ],
    ['handler', { handler: { messages() {} } }, /^handler: there is no messages; is message meant/],
    [
      'an interceptor',
      { interceptors: [{ befor() {} }] },
      /^interceptors: there is no befor; is before meant/,
    ],
    ['odd characters', { 'a\nb\u001b[2J': 1 }, /there is no "a\\nb\\u001b\[2J"/],
    ['__proto__', JSON.parse('{"limits":{"__proto__":{"message":5}}}'), /limits: there is no __proto__/],
    ['constructor', { limits: { constructor: 5 } }, /limits: there is no constructor/],
    ['no object', { limits: 5 }, /^limits must be an object with message, outbox/],
    ['an array', { heartbeat: [] }, /^heartbeat must be an object with interval, timeout and ping$/],
    ['topics as a list', { topics: ['news'] }, /^topics must be an object/],
    ['a broker by its address', { broker: 'redis://127.0.0.1' }, /broker must be one, such as redisBroker\(/],
    ['an application as server', { server: Object.assign(() => {}, { on() {} }) }, /createServer\(app\)/],
    ['a log that is none', { log: console }, /log must be a function/],
    [
      'an overflow',
      { topics: { news: { overflow: 'conflated' } } },
      /overflow is conflated, and must be 'close'/,
    ],
    [
      'keep',
      { topics: { news: { overflow: 'drop-oldest', keep: 0 } } },
      /keep is 0, and must be a whole number/,
    ],
    ['presence', { topics: { news: { presence: 'yes' } } }, /presence must be true or false/],
    ['no messages', { retention: { inbox: { maxMessages: 0 } } }, /maxMessages is 0, and must be/],
    ['no age', { retention: { topic: { maxAge: Number.NaN } } }, /maxAge is NaN, and must be/],
    ['no resolve', { references: {} }, /references\.resolve must be a function/],
    ['what is no method', { authorize: { subscribe: true } }, /^authorize\.subscribe must be a function$/],
    ['a handler’s', { handler: { message: 'x' } }, /^handler\.message must be a function$/],
    ['checkInterval', { checkInterval: 0 }, /checkInterval is 0, and must be/],
    ['presenceTtl', { presenceTtl: Number.NaN }, /presenceTtl is NaN, and must be/],
    ['cursorTtl', { cursorTtl: -1 }, /cursorTtl is -1, and must be/],
    ['proxies', { proxies: '10.0.0.1' }, /proxies must be an array/],
    ['origins', { origins: 'https://a.example' }, /origins must be '\*' or an array/],
    ['path', { path: 'socketServer' }, /path is socketServer, and must begin with \//],
  ];
  for (const [what, options, message] of refused) {
    test(what, () => {
      assert.throws(() => new PushServer(options as never), { name: 'TypeError', message });
    });
  }

  for (const [what, options] of [
    ['null', null],
    ['text', 'x'],
    ['a number', 80],
  ] as const) {
    test(`${what} for options`, () => {
      assert.throws(() => new PushServer(options as never), /^TypeError: PushServer must be an object with/);
    });
  }

  const taken: PushServer[] = [];
  after(() => Promise.all(taken.map((push) => push.close())));
  test('what the application’s own objects have besides is theirs', () => {
    class Rights {
      readonly users = new Set<string>();
      subscribe(): boolean {
        return this.check();
      }
      check(): boolean {
        return true;
      }
    }
    const handler = { seen: 0, opened() {}, helper() {}, close() {}, closed() {} };
    taken.push(new PushServer({ authorize: new Rights(), handler }));
    const interceptor = { before() {}, name: 'ours', lookUp() {} };
    taken.push(new PushServer({ interceptors: [interceptor] as never }));
  });

  test('undefined is as left out, whatever its name', () => {
    const options = {
      limits: { message: undefined, mesage: undefined },
      brocker: undefined,
      topics: undefined,
    };
    taken.push(new PushServer(options as never));
  });
});

describe('what helps beside it', () => {
  const refused: [what: string, call: () => unknown, message: RegExp][] = [
    ['jwt()', () => jwt(undefined as never), /^jwt: give one of secret, publicKey and jwks, such as jwt\(\{/],
    ['jwt({})', () => jwt({}), /^jwt: give one of/],
    ['jwt, misspelled', () => jwt({ jkws: 'https://x' } as never), /^jwt: there is no jkws; is jwks meant/],
    ['jwt, no object', () => jwt('https://x' as never), /^jwt must be an object/],
    ['askApplication()', () => askApplication(undefined as never), /^askApplication: give the url, such as/],
    ['askApplication({})', () => askApplication({} as never), /^askApplication: give the url/],
    [
      'askApplication, misspelled',
      () => askApplication({ url: 'http://x', reheck: 5 } as never),
      /^askApplication: there is no reheck; is recheck meant/,
    ],
    [
      'askApplication, pause',
      () => askApplication({ url: 'http://x', pause: { maximum: 5 } } as never),
      /pause: there is no maximum; is max meant/,
    ],
    ['queryUser()', () => queryUser(undefined as never), /^queryUser takes the name of a query parameter/],
    [
      'signedTicket()',
      () => signedTicket(undefined as never),
      /at least 16 bytes, and be given as \{ secret:/,
    ],
    ['signedTicket(text)', () => signedTicket(secret as never), /at least 16 bytes, and be given as/],
    ['signTicket', () => signTicket('alice', undefined as never), /be given as \{ secret:/],
    [
      'signTicket, misspelled',
      () => signTicket('alice', { secret, lifeTime: 5 } as never),
      /^signTicket: there is no lifeTime; is lifetime meant/,
    ],
    ['signTopicTicket', () => signTopicTicket('alice', 'news', undefined as never), /be given as \{ secret:/],
    ['redisBroker()', () => redisBroker(undefined as never), /^give the address of a Redis, such as redis:/],
    [
      'redisBroker, misspelled',
      () => redisBroker('redis://127.0.0.1', { prefx: 'x' } as never),
      /^redisBroker: there is no prefx; is prefix meant/,
    ],
    [
      'a Redis by options, misspelled',
      () => redisBroker({ hostname: 'x', pass: 'hush' } as never),
      /^the options of Redis: there is no hostname; is host meant/,
    ],
    [
      'Sentinels',
      () => redisBroker({ sentinels: ['redis://127.0.0.1:1'], master: 'm' } as never),
      /^Sentinels: there is no master/,
    ],
    [
      'a Cluster',
      () => redisBroker({ cluster: ['redis://127.0.0.1:1'], tls: true } as never),
      /^a Cluster: /,
    ],
    ['memoryBroker', () => memoryBroker({} as never), /^memoryBroker takes a MemoryStore/],
  ];
  for (const [what, call, message] of refused) {
    test(what, () => {
      assert.throws(call, (error: Error) => {
        assert.equal(error.name, 'TypeError');
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /hush/);
        return true;
      });
    });
  }

  test('no ticket is one that is malformed', () => {
    assert.throws(() => verifyTicket(undefined as never, { secret }), TicketError);
  });

  test('a message whose settings are misspelled is not sent', async () => {
    const push = new PushServer();
    for (const [send, hint] of [
      [() => push.send('alice', 1, { replace: 'x' } as never), 'replaces'],
      [() => push.publish('news', 1, { TTL: 5 } as never), 'ttl'],
      [() => push.sendReference('alice', 'key', { idempotenceKey: 'x' } as never), 'idempotencyKey'],
      [() => push.sendMany(['alice'], 1, { idempotencykey: 'x' } as never), 'idempotencyKey'],
    ] as const) {
      await assert.rejects(async () => send(), {
        name: 'TypeError',
        message: new RegExp(`^settings: .*is ${hint} meant`),
      });
    }
    assert.equal((await push.counts('alice')).all, 0);
    await push.send('alice', 1, { unknown: undefined, ttl: undefined } as never);
    assert.equal((await push.counts('alice')).all, 1);
    await push.close();
  });

  test('a mark or a list whose settings are misspelled is not one of everything', async () => {
    const push = new PushServer();
    const { id } = await push.send('alice', 1);
    await assert.rejects(
      push.mark('alice', { as: 'deleted', id: [id] } as never),
      /^TypeError: mark: .*is ids meant/,
    );
    await assert.rejects(
      push.inbox('alice', { stat: 'unread' } as never),
      /^TypeError: inbox: .*is state meant/,
    );
    await assert.rejects(
      async () => push.scheduled({ users: 'alice' } as never),
      /scheduled: .*is user meant/,
    );
    assert.deepEqual(await push.counts('alice'), { unseen: 1, unread: 1, all: 1 });
    await push.close();
  });

  test('a command whose settings are misspelled does nothing', async () => {
    const push = new PushServer({ broker: memoryBroker(new MemoryStore()) });
    await assert.rejects(push.disconnect('alice', { sesion: 's1' } as never), /no sesion; is session meant/);
    await assert.rejects(push.block('alice', { untill: 5 } as never), /there is no untill; is until meant/);
    await assert.rejects(push.revoke('alice', 'news', { untill: 5 } as never), /is until meant/);
    assert.deepEqual(await push.blocks(), []);
    await assert.rejects(
      push.presence('news', { limits: 5 } as never),
      /^TypeError: presence: .*is limit meant/,
    );
    await assert.rejects(push.close({ drian: 60_000 } as never), /^TypeError: close: .*is drain meant/);
    for (const drain of [Number.NaN, -1, '5s', Number.POSITIVE_INFINITY]) {
      await assert.rejects(push.close({ drain: drain as number }), RangeError);
    }
    await push.send('alice', 'it runs on');
    await push.close({ drain: 0 });
  });
});
