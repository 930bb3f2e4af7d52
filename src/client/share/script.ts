/** tidings-share.js: what tidings.js fetches for pages that share; and, as a shared worker, what keeps the locks for them. */
import { shareTransport } from './index.ts';
import { keepLocks, LOCKS } from './locks.ts';

const scope = globalThis as unknown as { name: string; onconnect: () => void };
if (scope.name === LOCKS) keepLocks(scope);
else Object.assign(document.currentScript as HTMLElement, { share: shareTransport });
