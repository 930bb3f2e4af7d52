/**
 * `npm run peer -- NAME --port N --mode echo|broadcast|idle [--deflate] [--embedded]`: starts one of the
 * servers of the benches, in a process of plain JavaScript, for any load generator to use.
 */
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { buildBench } from './build.ts';
import { command, type Mode, peerNamed, roster } from './roster.ts';

const HELP = `npm run peer -- NAME [--port N] [--host H] [--mode echo|broadcast|idle] [--deflate] [--embedded]

Starts a server of the benches and prints "listening on …" when it is ready. SIGTERM ends it, status 0.

  --port N      default 0, any free one; the line printed tells which
  --host H      default 127.0.0.1
  --mode M      echo (default): text is answered with text, binary with binary;
                broadcast: what anyone sends goes to all; idle: nothing is answered
  --deflate     negotiate permessage-deflate
  --embedded    tidings on an http.Server rather than its own listener

NAME is one of
${[...roster.values()].map((peer) => `  ${peer.name.padEnd(18)}${peer.what}`).join('\n')}
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string', default: '0' },
    host: { type: 'string', default: '127.0.0.1' },
    mode: { type: 'string', default: 'echo' },
    deflate: { type: 'boolean', default: false },
    embedded: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const [name] = positionals;
if (values.help || name === undefined) {
  console.log(HELP);
  process.exit(values.help ? 0 : 2);
}

const peer = peerNamed(name === 'tidings' && values.embedded ? 'tidings-embedded' : name);
await buildBench({ installsPeers: !peer.isOwn });
const { file, args, env } = command(peer, {
  port: Number(values.port),
  host: values.host,
  mode: values.mode as Mode,
  deflate: values.deflate,
});
const child = spawn(file, args, { stdio: 'inherit', env });
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => child.kill(signal));
child.on('exit', (status, signal) => process.exit(status ?? (signal === 'SIGTERM' ? 0 : 1)));
