/** The way of one message as spans: npm install tidings ws @opentelemetry/api @opentelemetry/sdk-trace-base @opentelemetry/context-async-hooks */
import * as api from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { PushServer, queryUser } from 'tidings';
import { WebSocket } from 'tidings/ws';

// What applications do once, in a file of their own; usually with an exporter to a collector.
const exporter = new InMemorySpanExporter();
api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
api.trace.setGlobalTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
);

const push = new PushServer({
  port: 0,
  host: '127.0.0.1',
  interceptors: [queryUser('user')],
  tracing: api,
});
await push.ready;

const { port } = push.address();
const page = new WebSocket(`ws://127.0.0.1:${port}/socketServer?user=alice`, 'tidings.1');
page.onopen = () => page.send(JSON.stringify({ type: 'hello', device: 'a-phone' }));
const isDone = new Promise((resolve, reject) => {
  page.onerror = reject;
  page.onmessage = ({ data }) => {
    const { type, epoch, offset, id } = JSON.parse(data);
    if (type === 'welcome') void order();
    if (type !== 'message') return;
    page.send(JSON.stringify({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } }));
    // The answer to this comes behind the acknowledgement.
    page.send(JSON.stringify({ type: 'ping' }));
    page.onmessage = resolve;
  };
});

/** A request of the application's, in a span of its own. */
async function order() {
  await api.trace.getTracer('shop').startActiveSpan('POST /orders', async (span) => {
    await push.send('alice', { subject: 'Your order is on its way' });
    span.end();
  });
}

await isDone;
page.close();
await push.close();
const spans = exporter.getFinishedSpans();
for (const span of spans) {
  const parent = spans.find((other) => other.spanContext().spanId === span.parentSpanContext?.spanId);
  console.log(`${span.name}${parent === undefined ? '' : `  ← ${parent.name}`}`);
}
