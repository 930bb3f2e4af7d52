/** Whether this process is a worker of `tidings serve --workers`, and what it has to start with. */
import cluster from 'node:cluster';
import { isMessage, type ToWorker, WORKER_VARIABLE } from './worker-messages.ts';

type Start = Extract<ToWorker, { type: 'start' }>;

export function isWorker(environment: NodeJS.ProcessEnv): boolean {
  return cluster.isWorker && environment[WORKER_VARIABLE] !== undefined;
}

let orders: Promise<Start> | undefined;

/** What the primary has given this worker to start with. */
export function startOrders(): Promise<Start> {
  orders ??= new Promise((resolve) => {
    const hear = (message: unknown): void => {
      if (!isMessage(message) || message.type !== 'start') return;
      process.off('message', hear);
      resolve(message as unknown as Start);
    };
    process.on('message', hear);
    process.send!({ of: 'tidings', type: 'started' });
  });
  return orders;
}
