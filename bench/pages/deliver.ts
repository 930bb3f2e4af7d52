/**
 * Messages at a given rate through Redis: each to one user who has one page, or each to a topic that all pages are
 * subscribed to. Every page acknowledges as its client does. All that was sent must arrive, in order, once.
 */
import { Histogram } from '../load/histogram.ts';
import { COLD } from '../load/window.ts';
import { crowd, openAll, pause, until } from './crowd.ts';
import type { PageJob, PageResult } from './job.ts';
import { Meter, quiet } from './meter.ts';
import { senderOf } from './senders.ts';

/** Deliveries before which more time goes into compiling the server's code than into running it. */
const WARM = 30_000;
/** Sends without an answer: with so many, the next waits, as more would measure a queue. */
const UNDER_WAY = 1000;
/** Milliseconds that are made up for where the generator came late. The rest lowers the rate, which is told. */
const LATE = 20;

export async function deliver(job: PageJob, fail: (error: Error) => void): Promise<PageResult> {
  const isTopic = job.scenario === 'topic';
  const sender = await senderOf(job.sender, job.redis, fail);
  const pages = crowd(job, job.pages, (i) => `u${i}`, isTopic ? ['news'] : [], fail);
  await openAll(pages);
  await quiet(job.pids);

  const latencies = new Histogram();
  let delivered = 0;
  for (const page of pages) {
    page.onMessage = (sentAt) => {
      delivered++;
      latencies.add(performance.now() - sentAt, 1);
    };
  }
  const padding = 'x'.repeat(
    Math.max(0, job.size - JSON.stringify({ n: 1000, t: 10000.123, padding: '' }).length),
  );
  const numbers = new Uint32Array(isTopic ? 1 : pages.length);
  let sent = 0;
  let underWay = 0;
  const done = () => void underWay--;
  const send = () => {
    // Users take turns, and not neighbours one after the other.
    const i = isTopic ? 0 : (sent * 7919) % pages.length;
    const message = { n: ++numbers[i]!, t: Math.round(performance.now() * 1000) / 1000, padding };
    sent++;
    underWay++;
    const sending = isTopic ? sender.toTopic('news', message) : sender.toUser(pages[i]!.user, message);
    sending.then(done, fail);
  };
  /** For so long, and so many deliveries. */
  const sendFor = async (milliseconds: number, deliveries: number): Promise<boolean> => {
    const start = performance.now();
    let last = start;
    let due = 0;
    for (;;) {
      const now = performance.now();
      if (now - start >= milliseconds && delivered >= deliveries) return true;
      if (now - start >= milliseconds + 120_000) return false;
      due += (Math.min(now - last, LATE) * job.rate) / 1000;
      last = now;
      for (; due >= 1 && underWay < UNDER_WAY; due--) send();
      due = Math.min(due, Math.max(1, (LATE * job.rate) / 1000));
      await pause(1);
    }
  };

  const isWarm = await sendFor(job.mayBeCold ? 300 : 2000, job.mayBeCold ? 0 : WARM);
  if (!isWarm) throw new Error(COLD);
  await sender.prepare?.(pages.map(({ user }) => user));
  const before = delivered;
  latencies.clear();
  const meter = new Meter(job);
  await sendFor(job.duration, 0);
  const used = meter.stop();
  const count = delivered - before;
  const due = () => (isTopic ? sent * pages.length : sent);
  await until(
    () => delivered === due() && underWay === 0 && pages.every((page) => page.isSettled),
    () =>
      `of ${due()} deliveries ${delivered} came; ${pages.filter((page) => !page.isSettled).length} pages wait for an acknowledgement's answer`,
  );
  // What comes twice comes late.
  await pause(200);
  for (const page of pages) page.cut();
  return { ...used, count, p50: latencies.quantile(0.5), p99: latencies.quantile(0.99) };
}
