/** Socket.IO as a peer of `npm run chaos`: its instances with either Redis adapter, and its own client as the page. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { io } from 'socket.io-client';
import type { Page, PageOptions } from '../../test/chaos/page.ts';
import type { Numbered } from '../../test/chaos/publisher.ts';
import type { System } from '../../test/chaos/stage.ts';

const benchFolder = fileURLToPath(new URL('..', import.meta.url));

export function socketIo(adapter: 'pubsub' | 'streams'): System {
  return {
    name: `socket.io with its ${adapter} adapter`,
    // What is lost here stays lost.
    patience: 5_000,
    async instance() {
      if (!existsSync(join(benchFolder, 'node_modules'))) {
        execFileSync('npm', ['ci', '--prefix', benchFolder, '--no-audit', '--no-fund'], {
          stdio: ['ignore', 2, 2],
        });
      }
      const file = join(benchFolder, 'dist/chaos/socketio-instance.js');
      await build({
        entryPoints: [join(benchFolder, 'chaos/socketio-instance.ts')],
        outfile: file,
        bundle: true,
        packages: 'external',
        format: 'esm',
        platform: 'node',
        target: 'es2023',
        logLevel: 'warning',
      });
      return { file: process.execPath, args: [file, adapter] };
    },
    open: openPage,
  };
}

function openPage({ url, user, topics, seen = new Map() }: PageOptions): Page {
  for (const stream of [`user:${user}`, ...topics]) if (!seen.has(stream)) seen.set(stream, []);
  let connections = 0;
  const { origin, pathname } = new URL(url);
  const socket = io(origin.replace('ws', 'http'), {
    path: pathname,
    transports: ['websocket'],
    auth: { user, topics },
    forceNew: true,
    reconnectionDelay: 100,
    reconnectionDelayMax: 1000,
    timeout: 5000,
  });
  socket.on('connect', () => {
    connections++;
  });
  let count = 0;
  socket.on('message', (stream: string, { n }: Numbered) => {
    // It has no ids; every arrival is one.
    seen.get(stream)?.push({ kind: 'message', n, id: String(count++) });
  });
  return {
    user,
    seen,
    waits: [],
    errors: [],
    ends: [],
    foreign: new Map(),
    get connections() {
      return connections;
    },
    get isConnected() {
      return socket.connected;
    },
    reopen: () => socket.connect(),
    close: () => socket.disconnect(),
  };
}
