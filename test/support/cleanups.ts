/** What the tests of a file have opened ends behind each of them, the last first: so one that fails leaves nothing behind. */
import { afterEach } from 'node:test';

export const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server that is stopped behind the test. */
export async function started<T extends { stop(): Promise<void> }>(server: Promise<T>): Promise<T> {
  const result = await server;
  cleanups.push(() => result.stop());
  return result;
}
