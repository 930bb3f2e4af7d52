/** What the primary process of `tidings serve --workers` and its workers say to each other, over Node's own channel. */
import type { Family } from '../metrics/index.ts';
import type { FilesCopy } from './files.ts';
import type { Places } from './serve-instance.ts';
import type { SocketName } from './service-manager.ts';

/** How a worker is told from a program that somebody else runs as a worker of a cluster: this variable names it. */
export const WORKER_VARIABLE = '_TIDINGS_WORKER';

/** Settings come from these: what needs a restart from those of the start, all else from those of now. */
export interface Sources {
  start: FilesCopy;
  now: FilesCopy;
}

/** The same for all workers, or they would not share it. */
export interface Listening {
  /** None of them is 0. */
  ports: { port: number; adminPort?: number | undefined; policyPort?: number | undefined };
  /** Descriptors of the primary process. */
  handed: [SocketName, number][];
}

export type ToWorker =
  | { type: 'start'; sources: Sources; demoToken: string; listening: Listening }
  /** All are up that were started together. */
  | { type: 'all-ready' }
  | { type: 'reload'; id: number; files: FilesCopy; isTrial: boolean }
  | { type: 'metrics?'; id: number }
  /** The answer to `metrics-of-all?`. */
  | { type: 'metrics-of-all'; id: number; families: Family[] }
  | { type: 'drain' };

export type FromWorker =
  /** It hears from here on. What it was told before may be lost. */
  | { type: 'started' }
  | { type: 'failed'; message: string; status: number }
  | { type: 'ready'; places: Places }
  | { type: 'reloaded'; id: number; problem?: string }
  | { type: 'metrics'; id: number; families: Family[] }
  | { type: 'metrics-of-all?'; id: number };

/** Tells what is ours from what others send over the same channel, such as Node itself. */
export function isMessage(message: unknown): message is { type: string; of: 'tidings' } {
  return (message as { of?: unknown } | null)?.of === 'tidings';
}
