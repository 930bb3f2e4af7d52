/**
 * What every peer is told on its command line, and what it tells its starter: one line when it listens.
 * Runs on Node, Bun and Deno.
 */
import { parseArgs } from 'node:util';
import type { Answers } from '../roster.ts';
import { exitStatus } from './wrong.ts';

export interface PeerOptions {
  port: number;
  host: string;
  /** echo: back to the sender; broadcast: to everybody; idle: nothing is ever answered. */
  mode: 'echo' | 'broadcast' | 'idle';
  /** Offer permessage-deflate, and compress what is sent. */
  deflate: boolean;
  /** Longest message in octets. Default `MAX_MESSAGE`. */
  maxPayload: number;
  /** Of the peers that have them (see the roster); undefined leaves the peer its own default. */
  maxFragments: number | undefined;
  maxBufferedChunks: number | undefined;
  /** ws and tidings only: how an echo is answered. Default: at once, with what came in. */
  answers: Answers;
  /** Bytes of each stored answer. */
  answerSize: number;
  /** On an http.Server, where a peer also has a listener of its own. */
  embedded: boolean;
  /**
   * tidings only: `views` are handed to the handler, valid until it returns; `copies` may be kept; `events` is
   * what a program gets that was written for ws.
   */
  api: 'views' | 'copies' | 'events';
  /** tidings only: read sockets as node:net does, without the shared buffer. */
  plainReads: boolean;
  /** net only: send one byte to whoever has been accepted. */
  greet: boolean;
  /** URL of the Redis that instances share; empty for none. */
  redis: string;
  /** socketio-redis only: the adapter for Redis streams. */
  streams: boolean;
}

/** Larger than any message of the benches; peers whose default is lower are raised to it. */
export const MAX_MESSAGE = 128 * 1024 * 1024;

/** Where `--workers` asks for several processes, it returns in the workers only. */
export async function peerOptions(): Promise<PeerOptions> {
  const { values } = parseArgs({
    args: process.argv.slice(2),
    options: {
      port: { type: 'string', default: '0' },
      host: { type: 'string', default: '127.0.0.1' },
      mode: { type: 'string', default: 'echo' },
      deflate: { type: 'boolean', default: false },
      'max-payload': { type: 'string', default: String(MAX_MESSAGE) },
      'max-fragments': { type: 'string' },
      'max-buffered-chunks': { type: 'string' },
      strict: { type: 'boolean', default: false },
      answers: { type: 'string', default: 'now' },
      'answer-size': { type: 'string', default: '0' },
      embedded: { type: 'boolean', default: false },
      api: { type: 'string', default: 'views' },
      greet: { type: 'boolean', default: false },
      redis: { type: 'string', default: '' },
      streams: { type: 'boolean', default: false },
      workers: { type: 'string', default: '1' },
      'plain-reads': { type: 'boolean', default: false },
    },
  });
  const mode = values.mode;
  if (mode !== 'echo' && mode !== 'broadcast' && mode !== 'idle') throw new Error(`unknown mode ${mode}`);
  // Behind what others have to say about the end.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => setImmediate(() => process.exit(values.strict ? exitStatus() : 0)));
  }
  // Idle memory is read after a collection, or it would be the allocation history that is measured.
  process.on('SIGUSR2', () => {
    if (typeof Bun !== 'undefined') Bun.gc(true);
    else (globalThis as { gc?: () => void }).gc?.();
  });
  if (Number(values.workers) > 1) await beginWorkers(Number(values.workers));
  // The gate asks over IPC how much has been allocated.
  if (process.connected && !cluster?.isWorker)
    process.on('message', () => process.send!(process.memoryUsage()));
  return {
    port: Number(values.port),
    host: values.host,
    mode,
    deflate: values.deflate,
    maxPayload: Number(values['max-payload']),
    maxFragments: optional(values['max-fragments']),
    maxBufferedChunks: optional(values['max-buffered-chunks']),
    answers: values.answers as Answers,
    answerSize: Number(values['answer-size']),
    embedded: values.embedded,
    api: values.api as PeerOptions['api'],
    plainReads: values['plain-reads'],
    greet: values.greet,
    redis: values.redis,
    streams: values.streams,
  };
}

function optional(value: string | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

let cluster: typeof import('node:cluster').default | undefined;

/** In the primary process: starts the workers, tells when all listen, and never returns. */
async function beginWorkers(count: number): Promise<void> {
  cluster = (await import('node:cluster')).default;
  if (!cluster.isPrimary) return;
  let ready = 0;
  cluster.on('listening', (_worker, address) => {
    if (++ready === count) listening('ws', '127.0.0.1', address.port);
  });
  for (let i = 0; i < count; i++) cluster.fork();
  await new Promise(() => {});
}

export function listening(scheme: 'ws' | 'tcp' | 'http', host: string, port: number): void {
  // The primary process speaks for its workers.
  if (cluster?.isWorker) return;
  console.log(`listening on ${scheme}://${host}:${port}/`);
}

/** The port of a server that listens, whatever it was asked for. */
export function portOf(server: { address(): unknown }): number {
  return (server.address() as { port: number }).port;
}
