/** `connect({ share: true })`: one connection for all tabs. */
import type { ConnectOptions } from '../options.ts';
import type { TransportFactory } from '../transport.ts';
import type { ClientTools } from './client-tools.ts';
import { type Lock, webLock, workerLock } from './locks.ts';
import { createTab } from './tab.ts';

const script = globalThis.document?.currentScript as HTMLScriptElement | null | undefined;
/** As a shared worker, for pages without Web Locks. */
const WORKER = script?.src && new URL('tidings-share.js', script.src).href;

/**
 * `dial`, shared with other tabs.
 * @throws where that is not possible
 */
export function shareTransport(
  dial: TransportFactory,
  { plain, ticketParameter, worker = WORKER }: ConnectOptions,
  tools: ClientTools,
): TransportFactory {
  const lock = lockHere(worker);
  if (plain || !lock) throw new Error('nothing is shared here');
  return createTab({ dial, lock, tools, ticketParameter });
}

/** Undefined where tabs can't speak to each other, or this is no tab. */
function lockHere(worker: string | undefined): Lock | undefined {
  if (typeof document === 'undefined' || typeof BroadcastChannel === 'undefined') return undefined;
  if (navigator.locks) return webLock;
  return worker && typeof SharedWorker !== 'undefined' ? workerLock(worker) : undefined;
}
