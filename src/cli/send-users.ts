/** `tidings send --users`: one message to all users of a list, which is read as it goes. */
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { UsageError } from './options.ts';

/** A user of the list. */
export interface Line {
  user: string;
  /** Counted from 1 on. */
  line: number;
}

/** What became of the message to one of them. */
export interface Told {
  duplicate?: boolean | undefined;
  /** Why it was not sent. */
  error?: string | undefined;
}

/** Sends to some users. Resolves with what became of each; rejects where none of them is known to have got it. */
export type SendToSome = (users: string[], idempotencyKey: string) => Promise<Told[]>;

/** Users at a time. */
const AT_ONCE = 2_000;
/** How often some are tried, and how long after the first time, in milliseconds. */
const ATTEMPTS = 6;
const PAUSE = 500;
/** Milliseconds between two lines that say how far it is. */
const PROGRESS = 1_000;
/** Users that are named because nothing could be sent to them. */
const MOST_NAMED = 100;

/**
 * @param file a path, or - for standard input
 * @param from the line to begin with
 * @param mayHelp whether trying again may help
 * @returns the exit status: 0 where all have it
 */
export async function sendToUsers(
  file: string,
  from: number,
  givenKey: string | undefined,
  send: SendToSome,
  mayHelp: (error: unknown) => boolean,
): Promise<number> {
  // Whoever is sent to again after a failure gets it once.
  const idempotencyKey = givenKey ?? randomBytes(12).toString('base64url');
  const sum = { sent: 0, duplicates: 0, failed: 0 };
  const begun = performance.now();
  let told = begun;
  let line = from - 1;
  const progress = (): void => {
    const seconds = (performance.now() - begun) / 1000;
    const rate = Math.round((sum.sent + sum.failed) / Math.max(seconds, 0.001));
    say(`line ${line}: ${sum.sent} sent, ${sum.failed} failed, ${rate} a second`);
  };
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    for await (const batch of batches(file, from)) {
      stopping.signal.throwIfAborted();
      const results = await tried(
        () =>
          send(
            batch.map(({ user }) => user),
            idempotencyKey,
          ),
        mayHelp,
        stopping.signal,
      );
      for (const [i, { duplicate, error }] of results.entries()) {
        if (error === undefined) {
          sum.sent++;
          if (duplicate) sum.duplicates++;
        } else if (++sum.failed <= MOST_NAMED) {
          say(`line ${batch[i]!.line}: ${JSON.stringify(batch[i]!.user.slice(0, 128))}: ${error}`);
        }
      }
      line = batch.at(-1)!.line;
      if (performance.now() - told < PROGRESS) continue;
      told = performance.now();
      progress();
    }
  } catch (error) {
    if (error instanceof UsageError && line < from) throw error;
    progress();
    const again = `--from ${line + 1} --idempotency-key ${idempotencyKey}`;
    const why = stopping.signal.aborted ? 'stopped' : `stopped: ${(error as Error).message}`;
    if (line > 0 || givenKey === undefined)
      say(`${why}; to go on, give the same list and text with ${again}`);
    else say(why);
    if (error instanceof UsageError) throw error;
    return 1;
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
  progress();
  console.log(JSON.stringify({ ...sum, idempotencyKey }));
  if (sum.failed === 0) return 0;
  say(
    `give the same list and text with --idempotency-key ${idempotencyKey} to send to those who are missing`,
  );
  return 1;
}

function say(text: string): void {
  console.error(`tidings send: ${text}`);
}

/** Empty lines stand for nobody. */
async function* batches(file: string, from: number): AsyncGenerator<Line[]> {
  const input = file === '-' ? process.stdin : createReadStream(file);
  const failed = new Promise<never>((_resolve, reject) => {
    input.once('error', (error: Error) =>
      reject(new UsageError(`--users: can't read ${file}: ${error.message}`)),
    );
  });
  failed.catch(() => {});
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]();
  let batch: Line[] = [];
  for (let line = 1; ; line++) {
    const next = await Promise.race([lines.next(), failed]);
    if (next.done) break;
    if (line < from || next.value === '') continue;
    batch.push({ user: next.value, line });
    if (batch.length < AT_ONCE) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function tried<T>(
  attempt: () => Promise<T>,
  mayHelp: (error: unknown) => boolean,
  signal: AbortSignal,
): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt();
    } catch (error) {
      if (count === ATTEMPTS || !mayHelp(error) || signal.aborted) throw error;
      await sleep(PAUSE * 2 ** (count - 1), undefined, { signal }).catch(() => {});
    }
  }
}
