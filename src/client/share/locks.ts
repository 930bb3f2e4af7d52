/** Locks that tabs of one origin queue for: Web Locks, and where there are none, as on plain http, those of a shared worker. */

/**
 * Queues for a lock, or takes it from whoever has it.
 *
 * @param granted it is ours until the function that is returned is called, or `lost` is
 * @param lost somebody has taken it; or, where it was never granted, there are no locks here
 * @returns gives it back, or leaves the queue; nothing is called after that
 */
export type Lock = (
  name: string,
  isSteal: boolean,
  granted: () => void,
  lost: (had: boolean) => void,
) => () => void;

export const webLock: Lock = (name, isSteal, granted, lost) => {
  const controller = new AbortController();
  let isOver = false;
  let had = false;
  let release = (): void => controller.abort();
  navigator.locks
    .request(name, isSteal ? { steal: true } : { signal: controller.signal }, () => {
      if (isOver) return undefined;
      had = true;
      return new Promise<void>((resolve) => {
        release = resolve;
        granted();
      });
    })
    .catch(() => isOver || lost(had));
  return () => {
    isOver = true;
    release();
  };
};

/** @param url of tidings-share.js at the page's own origin, which as a shared worker keeps the locks */
export function workerLock(url: string): Lock {
  return (name, isSteal, granted, lost) => {
    let port: MessagePort | undefined;
    let isOver = false;
    const failed = (): unknown => isOver || lost(false);
    try {
      const worker = new SharedWorker(url, LOCKS);
      port = worker.port;
      port.onmessage = ({ data }) => isOver || (data ? granted() : lost(true));
      port.postMessage([name, isSteal]);
      worker.onerror = failed;
    } catch {
      // Of another origin, or forbidden by a content policy.
      queueMicrotask(failed);
    }
    return () => {
      isOver = true;
      port?.postMessage([]);
      port?.close();
    };
  };
}

/** The worker's name. */
export const LOCKS = 'tidings-locks';

/** In the worker: a queue for each name. The first in it has the lock. */
export function keepLocks(scope: { onconnect: (event: MessageEvent) => void }): void {
  const queues = new Map<string, MessagePort[]>();
  scope.onconnect = ({ ports }) => {
    const port = ports[0] as MessagePort;
    let queue: MessagePort[] = [];
    const next = (): void => queue[0]?.postMessage(true);
    const leave = (): void => {
      const index = queue.indexOf(port);
      if (index < 0) return;
      queue.splice(index, 1);
      if (index === 0) next();
    };
    port.onmessage = ({ data: [name, isSteal] }) => {
      if (!name) {
        leave();
        return;
      }
      queue = queues.get(name) ?? [];
      queues.set(name, queue);
      if (isSteal) {
        queue.shift()?.postMessage(false);
        queue.unshift(port);
        next();
      } else if (queue.push(port) === 1) next();
    };
    // Its tab has crashed, where browsers tell that.
    port.addEventListener('close', leave);
  };
}
