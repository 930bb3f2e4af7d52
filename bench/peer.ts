/**
 * `npm run peer -- NAME --port N --mode echo|broadcast|idle [--deflate] [--embedded] [limits]`: starts one of the
 * servers of the benches, in a process of plain JavaScript, for any load generator to use.
 */
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { buildBench } from './build.ts';
import { command, type Limit, type Mode, peerNamed, roster } from './roster.ts';

const HELP = `npm run peer -- NAME [--port N] [--host H] [--mode echo|broadcast|idle] [--deflate] [--embedded] [limits]

Starts a server of the benches and prints "listening on …" when it is ready. SIGTERM ends it, status 0.

  --port N      default 0, any free one; the line printed tells which
  --host H      default 127.0.0.1
  --mode M      echo (default): text is answered with text, binary with binary;
                broadcast: what anyone sends goes to all; idle: nothing is answered
  --deflate     negotiate permessage-deflate
  --embedded    tidings on an http.Server rather than its own listener

Limits, 0 for none:
  --max-payload N           octets of a message; default 128 MiB (ws, tidings, faye, bun)
  --max-fragments N         fragments of a message; default the peer's own (ws, tidings)
  --max-buffered-chunks N   chunks of a message; default the peer's own (ws)

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
    'max-payload': { type: 'string' },
    'max-fragments': { type: 'string' },
    'max-buffered-chunks': { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const [name] = positionals;
if (values.help || name === undefined) {
  console.log(HELP);
  process.exit(values.help ? 0 : 2);
}

const peer = peerNamed(name === 'tidings' && values.embedded ? 'tidings-embedded' : name);
const limits: { [limit in Limit]?: number } = {};
for (const limit of ['max-payload', 'max-fragments', 'max-buffered-chunks'] as const) {
  const value = values[limit];
  if (value === undefined) continue;
  if (!/^\d+$/.test(value)) throw new Error(`--${limit} must be a number, not ${value}`);
  if (!peer.limits?.includes(limit)) throw new Error(`${peer.name} has no --${limit}`);
  limits[limit] = Number(value);
}
await buildBench({ installsPeers: !peer.isOwn });
const { file, args, env } = command(peer, {
  port: Number(values.port),
  host: values.host,
  mode: values.mode as Mode,
  deflate: values.deflate,
  limits,
});
const child = spawn(file, args, { stdio: 'inherit', env });
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => child.kill(signal));
child.on('exit', (status, signal) => process.exit(status ?? (signal === 'SIGTERM' ? 0 : 1)));
