/**
 * `node --import ./scripts/typescript.mjs bench/tabs.ts`: what ten tabs of a user cost the server, each by itself and as one
 * session. Of a build.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { typescript } from '../test/support/programs.ts';

const USERS = 200;
const TABS = 10;

interface Memory {
  heap: number;
  rss: number;
}

if (process.argv[2] === 'server') await serve();
else {
  for (const tabs of [TABS, 1]) await measure(tabs);
  process.exit();
}

async function serve(): Promise<void> {
  const { PushServer, queryUser } = await import(String(new URL('../dist/index.js', import.meta.url)));
  const push = new PushServer({ port: 0, interceptors: [queryUser('operator')], log: () => {} });
  await push.ready;
  process.on('message', async () => {
    for (let i = 0; i < 5; i++) {
      globalThis.gc?.();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const { heapUsed, external, rss } = process.memoryUsage();
    process.send?.({ heap: heapUsed + external, rss });
  });
  process.send?.(push.address().port);
}

async function measure(tabs: number): Promise<void> {
  const server: ChildProcess = fork(new URL(import.meta.url), ['server'], {
    execArgv: [...typescript, '--expose-gc'],
  });
  const [port] = await once(server, 'message');
  const memory = async (): Promise<Memory> => {
    server.send(0);
    return (await once(server, 'message'))[0] as Memory;
  };
  const before = await memory();
  const pages: WebSocket[] = [];
  for (let n = 0; n < USERS * tabs; n++) {
    const page = new WebSocket(`ws://127.0.0.1:${port}/socketServer?operator=u${n % USERS}`, ['tidings.1']);
    await once(page, 'open');
    page.send(JSON.stringify({ type: 'hello', device: `d${n % USERS}` }));
    await once(page, 'message');
    pages.push(page);
  }
  const after = await memory();
  const each = (kind: keyof Memory): string =>
    `${Math.round((after[kind] - before[kind]) / USERS / 1024)} KiB ${kind}`;
  console.log(`${tabs} sessions for a user: ${each('heap')}, ${each('rss')}`);
  for (const page of pages) page.terminate();
  server.kill('SIGKILL');
  await once(server, 'exit');
}
