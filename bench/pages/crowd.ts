/** Many pages at once. */
import type { PageJob } from './job.ts';
import { Page } from './page.ts';

/** Below the listen backlog of every peer. */
const AT_A_TIME = 256;
/** Milliseconds for what is under way: far beyond what any server takes for it. */
const PATIENCE = 60_000;

/** @param userOf by the page's index */
export function crowd(
  job: PageJob,
  count: number,
  userOf: (i: number) => string,
  topics: string[],
  fail: (error: Error) => void,
): Page[] {
  return Array.from({ length: count }, (_, i) => {
    const page = new Page(job, userOf(i), topics);
    page.onError = fail;
    return page;
  });
}

/** Resolves when all are open. They come as quickly as the server takes them. */
export function openAll(pages: Page[]): Promise<void> {
  return new Promise((resolve) => {
    let next = 0;
    let open = 0;
    const more = () => {
      if (next < pages.length) pages[next++]!.open();
    };
    for (const page of pages) {
      page.onOpen = () => {
        if (++open === pages.length) resolve();
        else more();
      };
    }
    for (let i = 0; i < AT_A_TIME; i++) more();
  });
}

/** Waits for what has to come; says what is missing if it does not. */
export async function until(isSo: () => boolean, missing: () => string): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(missing());
    await pause(20);
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
