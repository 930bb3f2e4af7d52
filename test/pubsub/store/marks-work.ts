/** What tests of marks have done to a store, whichever it is: many messages at once, and work while its server is killed. */
import assert from 'node:assert/strict';
import type { Broker, Position, PublishOptions } from '../../../src/pubsub/store/broker.ts';
import { until } from '../../support/net.ts';
import { options, type Recorder, text } from './broker-suite.ts';
import { at } from './marks-suite.ts';

/** Five hundred at a time. */
export async function fill(
  broker: Broker,
  channel: string,
  count: number,
  more: Partial<PublishOptions> = {},
): Promise<Position[]> {
  const retention = { maxMessages: 10_000, maxAge: 3_600_000 };
  const positions: Position[] = [];
  for (let i = 0; i < count; i += 500) {
    const some = Array.from({ length: Math.min(500, count - i) }, (_, k) =>
      broker.publish(channel, 'text', text(`message ${i + k}`), options({ retention, ...more })),
    );
    for (const receipt of await Promise.all(some)) positions.push(at(receipt));
  }
  return positions;
}

/**
 * Messages are sent, replaced, marked and withdrawn while the server is killed four times: all that was said to be so is so.
 *
 * @param a, b brokers over one store; `rb` is what the other tells
 */
export async function keepThroughKills(
  channel: string,
  [a]: [Broker, Recorder],
  [b, rb]: [Broker, Recorder],
  server: { kill(): Promise<void>; start(): Promise<void> },
): Promise<void> {
  await b.subscribe(channel);
  const wanted = new Map<number, string>();
  const keys = new Map<string, number>();
  let isOver = false;
  const work = (async () => {
    for (let i = 0; !isOver; i++) {
      const replaces = i % 5 === 0 ? `k${i % 3}` : undefined;
      const more = options({ idempotencyKey: `i${i}`, ...(replaces !== undefined && { replaces }) });
      const receipt = await (i % 2 ? a : b).publish(channel, 'text', text('x'), more);
      const { offset } = receipt;
      if (replaces !== undefined) {
        const former = keys.get(replaces);
        if (former !== undefined) wanted.set(former, 'gone');
        keys.set(replaces, offset);
      }
      const messages = [at(receipt)];
      if (i % 7 === 3) {
        await b.remove(channel, { position: messages[0]! });
        wanted.set(offset, 'gone');
      } else {
        const as = i % 2 ? 'read' : 'archived';
        await a.mark(channel, { as, messages });
        wanted.set(offset, as);
      }
    }
  })();
  for (let round = 1; round <= 4; round++) {
    const done = wanted.size;
    await until('some more', () => wanted.size > done + 30);
    await server.kill();
    await server.start();
    await until('it to be back', () => rb.ups >= round);
  }
  isOver = true;
  await work;
  for (const broker of [a, b]) {
    const { marks } = await broker.marks(channel);
    const states = new Map<number, string>();
    for (const kind of ['read', 'archived', 'gone'] as const) {
      for (const [first, last] of marks[kind]) for (let at = first; at <= last; at++) states.set(at, kind);
    }
    const sorted = (all: Map<number, string>) => [...all].sort(([x], [y]) => x - y);
    assert.deepEqual(sorted(states), sorted(wanted));
  }
  const { messages } = await b.read(channel, 0, 1000);
  for (const { offset, kind } of messages) assert.equal(kind === 'gone', wanted.get(offset) === 'gone');
}
