/** Waiting that ends. What was waited for goes on. */
import { clearTimeout, setTimeout } from './clock.ts';

/** What the promise gives; `undefined` if it fails or takes longer. */
export async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, milliseconds, undefined);
  });
  const result = await Promise.race([promise.catch(() => undefined), timeout]);
  clearTimeout(timer);
  return result;
}

/** Whether it happens within the time. Rejects where the event does. */
export async function isIn(event: Promise<unknown>, milliseconds: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, milliseconds, false);
  });
  try {
    return await Promise.race([event.then(() => true), timeout]);
  } finally {
    clearTimeout(timer);
  }
}
