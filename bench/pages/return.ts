/**
 * All pages lose their connection at once, one message is sent to each, and all come back as quickly as they are
 * taken. Who recovers must have the missed message then; a page of the others is back when it is open.
 */
import { crowd, openAll, pause, until } from './crowd.ts';
import type { PageJob, PageResult } from './job.ts';
import { Meter, quiet } from './meter.ts';
import { senderOf } from './senders.ts';

const AT_ONCE = 200;

export async function comeBack(job: PageJob, fail: (error: Error) => void): Promise<PageResult> {
  const sender = await senderOf(job.sender, job.redis, fail);
  const pages = crowd(job, job.pages, (i) => `u${i}`, [], fail);
  const padding = 'x'.repeat(Math.max(0, job.size - 40));
  const sendAll = async (n: number): Promise<void> => {
    for (let i = 0; i < pages.length; i += AT_ONCE) {
      const some = pages.slice(i, i + AT_ONCE);
      await Promise.all(some.map(({ user }) => sender.toUser(user, { n, t: 0, padding })));
    }
  };
  const have = (n: number): number => pages.reduce((sum, page) => sum + Number(page.last >= n), 0);
  const allHave = (n: number): Promise<void> =>
    until(
      () => have(n) === pages.length,
      () => `${pages.length - have(n)} pages never had message ${n}`,
    );

  await openAll(pages);
  await quiet(job.pids);
  await sendAll(1);
  await allHave(1);
  await until(
    () => pages.every((page) => page.isSettled),
    () => 'acknowledgements without an answer',
  );
  for (const page of pages) page.cut();
  await quiet(job.pids);
  await pause(job.mayBeCold ? 200 : 1000);
  await sendAll(2);
  await quiet(job.pids);

  const meter = new Meter(job);
  await openAll(pages);
  if (job.recovers) await allHave(2);
  const { elapsed } = meter.stop();
  await until(
    () => pages.every((page) => page.isSettled),
    () => 'acknowledgements without an answer',
  );
  await quiet(job.pids);
  const used = meter.stop();
  for (const page of pages) page.cut();
  return { ...used, elapsed, count: pages.length };
}
