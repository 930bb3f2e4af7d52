/** The way of a message as one trace: by both stores, modes and doors, over instances, and after a restart. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import * as api from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  ParentBasedSampler,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { Outgoing } from '../../../src/push/delivery/outgoing.ts';
import { PushServer } from '../../../src/push/index.ts';
import { encodeTrace, parseTrace } from '../../../src/push/tracing/trace-context.ts';
import { Tracing } from '../../../src/push/tracing/tracing.ts';
import { Trouble } from '../../../src/push/trouble.ts';
import { adminOf } from '../../admin/support.ts';
import { until } from '../../support/net.ts';
import { onEachStore } from '../stores.ts';
import { Page, startPush } from '../support.ts';

const exporter = new InMemorySpanExporter();
api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
api.trace.setGlobalTracerProvider(
  new BasicTracerProvider({
    sampler: new ParentBasedSampler({ root: new AlwaysOnSampler() }),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  }),
);
const tracer = api.trace.getTracer('test');
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = `00-${TRACE}-b7ad6b7169203331-01`;

/** The spans of one trace that are finished, by operation. */
function spansOf(traceId: string, operation: string): ReadableSpan[] {
  return exporter
    .getFinishedSpans()
    .filter((span) => span.spanContext().traceId === traceId)
    .filter(({ attributes }) => attributes['messaging.operation.name'] === operation);
}

function idOf(span: ReadableSpan | undefined): string | undefined {
  return span?.spanContext().spanId;
}

/** Runs it in a span of its own. Returns the trace. */
async function inSpan(call: () => Promise<unknown>): Promise<{ traceId: string; spanId: string }> {
  return tracer.startActiveSpan('request', async (span) => {
    await call();
    span.end();
    return span.spanContext();
  });
}

function linksTo(span: ReadableSpan, creation: ReadableSpan): boolean {
  return span.links.some(({ context }) => context.spanId === idOf(creation));
}

onEachStore(
  'send, store, doorbell, write and acknowledgement are one trace, over two instances',
  async (make) => {
    const a = await startPush({ broker: make(), tracing: api, instance: 'a' });
    const b = await startPush({ broker: make(), tracing: true, instance: 'b' });
    const page = await Page.open(b.url, 'alice', { device: 'd1' });
    const plain = await Page.plain(b.url, 'alice');
    const { traceId, spanId } = await inSpan(() => a.push.send('alice', { n: 1 }));
    const message = await page.frame('message');
    await until('the plain page', () => plain.received.length === 1);
    page.say({ type: 'ack', channel: 'inbox', position: page.position() });
    await until('the acknowledgement', () => spansOf(traceId, 'ack').length === 1);
    const [send] = spansOf(traceId, 'send');
    const [store] = spansOf(traceId, 'store');
    const [receive] = spansOf(traceId, 'receive');
    const [ack] = spansOf(traceId, 'ack');
    assert.equal(send!.parentSpanContext?.spanId, spanId);
    assert.equal(send!.kind, api.SpanKind.PRODUCER);
    assert.equal(store!.parentSpanContext?.spanId, idOf(send));
    assert.equal(receive!.parentSpanContext?.spanId, idOf(send));
    assert.equal(receive!.attributes['messaging.client.id'], 'b');
    const delivered = spansOf(traceId, 'deliver');
    assert.deepEqual(delivered.map(({ attributes }) => attributes['tidings.mode']).toSorted(), [
      'plain',
      'tidings.1',
    ]);
    for (const span of delivered) {
      assert.equal(span.parentSpanContext?.spanId, idOf(receive));
      assert.equal(span.attributes['messaging.message.id'], message.id);
      assert.equal(span.attributes['tidings.recovered'], false);
    }
    const written = delivered.find(({ attributes }) => attributes['tidings.mode'] === 'tidings.1');
    assert.equal(ack!.parentSpanContext?.spanId, idOf(written));
    for (const span of [receive!, ...delivered, ack!]) {
      assert.equal(span.kind, api.SpanKind.CONSUMER);
      assert.ok(linksTo(span, send!));
    }
    assert.ok(!('trace' in message) && !('traceparent' in message));
    await Promise.all([a.push.close(), b.push.close()]);
  },
);

onEachStore(
  'a page that comes hours later, on another instance that was started since, is in the same trace',
  async (make) => {
    const keeper = await startPush({ broker: make() });
    const first = await startPush({ broker: make(), tracing: api });
    const { traceId } = await inSpan(() => first.push.send('alice', 'late'));
    await first.push.close();
    const second = await startPush({ broker: make(), tracing: api });
    for (const start of [{ start: 'retained' as const, device: 'd1' }]) {
      const page = await Page.open(second.url, 'alice', start);
      await page.frame('message');
      page.say({ type: 'ack', channel: 'inbox', position: page.position() });
    }
    await until('the acknowledgement', () => spansOf(traceId, 'ack').length === 1);
    const [send] = spansOf(traceId, 'send');
    const [deliver] = spansOf(traceId, 'deliver');
    assert.equal(deliver!.parentSpanContext?.spanId, idOf(send));
    assert.ok(linksTo(deliver!, send!));
    assert.equal(deliver!.attributes['tidings.recovered'], true);
    assert.equal(spansOf(traceId, 'ack')[0]!.parentSpanContext?.spanId, idOf(deliver));
    await Promise.all([second.push.close(), keeper.push.close()]);
  },
);

onEachStore('a trace that the caller names, and what is sent to many, later, or to a topic', async (make) => {
  exporter.reset();
  const { push, url } = await startPush({ broker: make(), tracing: api });
  const page = await Page.open(url, 'alice', { topics: ['news'] });
  const other = await Page.open(url, 'bob', { topics: ['news'] });
  const settings = { traceparent: PARENT, tracestate: 'a=1' };

  await push.send('alice', 'named', settings);
  await push.publish('news', 'all', settings);
  await push.sendMany(['alice', 'bob', 'carol'], 'many', settings);
  await push.send('alice', 'later', { ...settings, at: Date.now() + 50 });
  await until('all of it', () => page.data().includes('later') && other.data('news').length === 1);
  await until(
    'the spans',
    () =>
      spansOf(TRACE, 'deliver').length >= 5 &&
      spansOf(TRACE, 'schedule').length > 0 &&
      // The one of what was due ends behind its delivery.
      spansOf(TRACE, 'send').length >= 4,
  );
  const sends = spansOf(TRACE, 'send');
  const many = sends.find(({ attributes }) => attributes['messaging.batch.message_count'] === 3);
  assert.equal(sends.length, 4);
  const [scheduled] = spansOf(TRACE, 'schedule').slice(-1);
  const due = sends.find((span) => span.parentSpanContext?.spanId === idOf(scheduled));
  assert.ok(linksTo(due!, scheduled!));
  for (const span of sends)
    if (span !== due) assert.equal(span.parentSpanContext?.spanId, 'b7ad6b7169203331');
  assert.equal(due!.spanContext().traceState?.serialize(), 'a=1');
  const topics = spansOf(TRACE, 'deliver').filter(
    ({ attributes }) => attributes['messaging.destination.name'] === 'news',
  );
  const pages = topics.map(({ attributes }) => attributes['tidings.sessions'] ?? 1) as number[];
  assert.equal(
    pages.reduce((sum, count) => sum + count, 0),
    2,
  );
  assert.ok(many!.attributes['messaging.destination.template'] === 'user:{user}');
  await push.close();
});

onEachStore('what is not sampled, or no trace at all, costs the store not one byte', async (make) => {
  exporter.reset();
  const broker = make();
  const { push, url } = await startPush({ broker, tracing: api });
  const off = await startPush({ broker: make() });
  await push.send('alice', 'x', { traceparent: `00-${TRACE}-b7ad6b7169203331-00` });
  for (const traceparent of [
    PARENT.toUpperCase(),
    `ff${PARENT.slice(2)}`,
    `${PARENT}x`,
    '',
    'x'.repeat(10_000),
  ])
    await off.push.send('alice', 'x', { traceparent, tracestate: 'y'.repeat(10_000) });
  await off.push.send('alice', 'x');
  const { messages } = await broker.read('user:alice', 0, 100);
  assert.deepEqual(
    messages.map(({ trace }) => trace),
    Array(7).fill(undefined),
  );
  // An instance that does not trace hands on what it was given.
  await off.push.send('alice', 'x', { traceparent: PARENT });
  const page = await Page.open(url, 'alice', { start: 'retained' });
  await until('all', () => page.messages().length === 8);
  const found = exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === TRACE);
  assert.deepEqual(
    found.map(({ name }) => name),
    ['deliver user:{user}'],
  );
  await Promise.all([push.close(), off.push.close()]);
});

onEachStore('what can not be stored is a span with an error, and its cause', async (make) => {
  const broker = make();
  const { push } = await startPush({ broker, tracing: api });
  broker.publish = () => Promise.reject(new Error('no room'));
  const { traceId } = await inSpan(() => assert.rejects(push.send('alice', 'x'), /no room/));
  const [send] = spansOf(traceId, 'send');
  assert.equal(send!.status.code, api.SpanStatusCode.ERROR);
  assert.equal(send!.events[0]!.name, 'exception');
  await push.close();
});

test('SockJS: what is written and acknowledged is traced as by WebSocket', async () => {
  const { push, url } = await startPush({ tracing: api, sockjs: { prefix: '/sockjs' } });
  const base = `${url.replace('ws', 'http').replace('/socketServer', '')}/sockjs/000/s1`;
  const post = (path: string, body?: unknown): Promise<Response> =>
    fetch(`${base}/${path}?user=alice&protocol=tidings.1`, {
      method: 'POST',
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  await (await post('xhr')).text();
  await post('xhr_send', [JSON.stringify({ type: 'hello', device: 'd1' })]);
  let text = '';
  const poll = async (): Promise<void> => {
    text += await (await post('xhr')).text();
  };
  while (!text.includes('welcome')) await poll();
  const { traceId } = await inSpan(() => push.send('alice', 'x'));
  while (!text.includes('"data\\":\\"x')) await poll();
  const { epoch, offset, id } = JSON.parse(JSON.parse(/^a(\[.*message.*\])$/m.exec(text)![1]!).at(-1));
  await post('xhr_send', [
    JSON.stringify({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } }),
  ]);
  await until('the acknowledgement', () => spansOf(traceId, 'ack').length === 1);
  assert.equal(spansOf(traceId, 'deliver').length, 1);
  await push.close();
});

test('what is never acknowledged leaves no span open and takes bounded memory', async () => {
  const { push, url } = await startPush({ tracing: api });
  const page = await Page.open(url, 'alice', { device: 'd1' });
  for (let i = 0; i < 500; i++) await push.send('alice', i);
  await until('all', () => page.messages().length === 500);
  await page.close();
  const again = await Page.open(url, 'alice', { device: 'd1' });
  exporter.reset();
  again.say({ type: 'ack', channel: 'inbox', position: again.position() });
  await push.send('alice', 'end');
  await until('the end', () => again.data().includes('end'));
  const acks = exporter
    .getFinishedSpans()
    .filter(({ attributes }) => attributes['messaging.operation.name'] === 'ack');
  assert.ok(acks.length <= 100, String(acks.length));
  await push.close();
});

/** A message of alice's inbox that is traced, as it is written to a page, and what tells of it. */
function writing() {
  const trouble = new Trouble(assert.fail, { event: 'e', message: '' }, { event: 'e', message: '' });
  const tracing = new Tracing(api, 'here', trouble);
  const stored = { channel: 'user:alice', epoch: 'e', offset: 5, id: 'i', time: 0, kind: 'text' } as const;
  const trace = encodeTrace(parseTrace(PARENT)!);
  const message = () => new Outgoing({ ...stored, payload: Buffer.alloc(0), trace });
  const reader = (device: string) => ({ id: 's', user: 'alice', device, isTidings: true });
  const acked = (device: string, epoch = 'e') => {
    exporter.reset();
    tracing.acknowledged('user:alice', device, { epoch, offset: 9, id: 'j' });
    return exporter.getFinishedSpans().length;
  };
  return { tracing, message, reader, acked };
}

test('of ten thousand devices that acknowledge nothing the oldest make room for more', () => {
  const { tracing, message, reader, acked } = writing();
  for (let i = 0; i < 10_100; i++) tracing.delivered('user:alice', message(), reader(`d${i}`), true);
  assert.deepEqual(
    ['d0', 'd99', 'd100', 'd10099', 'd10099'].map((device) => acked(device)),
    [0, 0, 1, 1, 0],
  );
});

test('a message that goes to very many pages one by one is traced to a hundred of them', () => {
  const { tracing, message, reader } = writing();
  const one = message();
  exporter.reset();
  for (let i = 0; i < 150; i++) tracing.delivered('user:alice', one, reader('d'), true);
  assert.equal(exporter.getFinishedSpans().length, 100);
});

test('what was written of a log that is no more is not acknowledged by a position of another one', () => {
  const { tracing, message, reader, acked } = writing();
  tracing.delivered('user:alice', message(), reader('d'), true);
  assert.deepEqual([acked('d', 'another'), acked('d')], [0, 0]);
});

test('whatever OpenTelemetry throws ends no message, and is told once, and that it works again', async () => {
  let isBroken = true;
  let isStartBroken = true;
  const fail = (): void => {
    if (isBroken) throw new Error('no span');
  };
  const broken = {
    ...api,
    trace: {
      getTracer: () => ({
        startSpan(...args: Parameters<api.Tracer['startSpan']>) {
          if (isStartBroken) fail();
          const span = api.trace.getTracer('tidings').startSpan(...args);
          const end = span.end.bind(span);
          return Object.assign(span, {
            end() {
              fail();
              end();
            },
          });
        },
      }),
      setSpan: api.trace.setSpan.bind(api.trace),
      getSpanContext: api.trace.getSpanContext.bind(api.trace),
      setSpanContext: api.trace.setSpanContext.bind(api.trace),
    },
  };
  const { push, url, log } = await startPush({ tracing: broken as never });
  const page = await Page.open(url, 'alice');
  await push.send('alice', 'one', { traceparent: PARENT });
  await push.sendMany(['alice'], 'two');
  await until('both', () => page.messages().length === 2);
  // What fails at the end of a span has not worked before.
  isStartBroken = false;
  await push.send('alice', 'three', { traceparent: PARENT });
  await push.sendMany(['alice'], 'four');
  await until('all', () => page.messages().length === 4);
  assert.deepEqual(log, ['warn: a span could not be made: Error: no span']);
  isBroken = false;
  await push.send('alice', 'five', { traceparent: PARENT });
  await push.send('alice', 'six', { traceparent: PARENT });
  assert.deepEqual(log.slice(1), ['warn: spans are made again']);
  await push.close();
});

test('what is no OpenTelemetry is refused', () => {
  for (const tracing of [{}, 'yes', 1, { trace: {} }])
    assert.throws(() => new PushServer({ tracing: tracing as never, log: () => {} }), /tracing must be true/);
});

onEachStore('the admin API takes the trace of its headers, and none that can not be', async (make) => {
  exporter.reset();
  const { push } = await startPush({ broker: make(), tracing: api });
  const http = createServer(adminOf(push)).listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  const post = (path: string, body: unknown, headers: Record<string, string>): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}/api/${path}`, {
      method: 'POST',
      headers: { Authorization: 'Bearer T', 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  const headers = { traceparent: PARENT, tracestate: 'a=1' };
  assert.equal((await post('users/alice/messages', 1, headers)).status, 201);
  assert.equal((await post('topics/news/messages', 1, headers)).status, 201);
  assert.equal((await post('messages', { users: ['alice', 'bob'], data: 1 }, headers)).status, 200);
  for (const traceparent of [PARENT.toUpperCase(), 'x', `${PARENT}, ${PARENT}`, 'cc'.repeat(5_000)])
    assert.equal((await post('users/alice/messages', 1, { traceparent })).status, 201);
  const sends = exporter.getFinishedSpans().filter(({ name }) => name.startsWith('send'));
  assert.deepEqual(
    sends.map((span) => span.parentSpanContext?.spanId === 'b7ad6b7169203331'),
    [true, true, true, false, false, false, false],
  );
  await push.close();
  http.close();
});

test('the active span counts in place of a header of the same trace: it is nearer', async () => {
  const { push } = await startPush({ tracing: api });
  await tracer.startActiveSpan('request', async (span) => {
    const { traceId, spanId } = span.spanContext();
    await push.send('alice', 1, { traceparent: `00-${traceId}-b7ad6b7169203331-01` });
    assert.equal(spansOf(traceId, 'send')[0]!.parentSpanContext?.spanId, spanId);
    span.end();
  });
  await push.close();
});

test('what is withdrawn before a page comes is in no span of it, and a page that can not be written to is in none', async () => {
  const { push, url } = await startPush({ tracing: api });
  const { traceId } = await inSpan(async () => {
    const receipt = await push.send('alice', 1);
    await push.withdraw('alice', receipt);
  });
  const page = await Page.open(url, 'alice', { start: 'retained' });
  await push.send('alice', 'end');
  await until('the end', () => page.data().includes('end'));
  assert.deepEqual(spansOf(traceId, 'deliver'), []);
  await push.close();
});
