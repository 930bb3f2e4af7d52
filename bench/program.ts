/** The two ends of a measuring program: a job comes in over IPC, one answer goes out, and it ends. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** In the program: runs the job, and answers with its failure if there is one. */
export function onJob<Job>(run: (job: Job, fail: (error: Error) => void) => Promise<void>): void {
  const fail = (error: Error) => send({ error: error.stack ?? error.message });
  process.once('message', (job: Job) => run(job, fail).catch(fail));
}

/** In the program: hands the result over and ends. */
export function answer(result: object): void {
  send({ result });
}

/** In one of several programs: resolves when all of them have come to this point. */
export async function everybodyReady(): Promise<void> {
  process.send!({ isReady: true });
  await once(process, 'message');
}

function send(message: object): void {
  if (process.connected) process.send!(message, () => process.exit(0));
}

export interface RunOptions {
  /** Milliseconds. */
  timeout: number;
  /** For node. */
  flags?: string[];
  /** Called when the program waits for others; it goes on when this resolves. */
  ready?: () => Promise<void>;
}

/** In the process that starts it: runs a program of `folder` with a job and resolves with the answer. */
export function runProgram<Result>(
  folder: string,
  file: string,
  job: object,
  options: RunOptions,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = fork(join(folder, file), { execArgv: options.flags ?? [] });
    const cut = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${file} was not done after ${options.timeout} ms`));
    }, options.timeout);
    child.on('message', (message: { result?: Result; error?: string; isReady?: boolean }) => {
      if (message.isReady) options.ready!().then(() => child.send('go'), reject);
      else if (message.result === undefined) reject(new Error(message.error));
      else resolve(message.result);
    });
    child.once('exit', (status, signal) => {
      clearTimeout(cut);
      reject(new Error(`${file} ended with ${signal ?? `status ${status}`}`));
    });
    child.send(job);
  });
}
