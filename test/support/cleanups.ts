/**
 * What a test has opened ends behind it, the last first: so one that fails leaves nothing behind, and nothing that stays on takes the
 * time of the tests that follow. Of tests that run side by side, behind the last of them.
 */
import { after, afterEach, beforeEach } from 'node:test';

type Cleanup = () => unknown;

export const cleanups: Cleanup[] = [];
const ofTheFile: Cleanup[] = [];
let running = 0;

/** Of what is opened outside of tests, such as in a `before`, this comes behind the last test of the file. */
export function atEnd(cleanup: Cleanup): void {
  (running > 0 ? cleanups : ofTheFile).push(cleanup);
}

async function clean(all: Cleanup[]): Promise<void> {
  for (const cleanup of all.splice(0).reverse()) await cleanup();
}
beforeEach(() => void running++);
afterEach(async () => {
  if (--running === 0) await clean(cleanups);
});
after(() => clean(ofTheFile));

/** A server that is stopped behind the test. */
export async function started<T extends { stop(): Promise<void> }>(server: Promise<T>): Promise<T> {
  const result = await server;
  cleanups.push(() => result.stop());
  return result;
}
