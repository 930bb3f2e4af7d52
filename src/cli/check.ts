/** `tidings check`: how well a WebSocket server or client keeps to RFC 6455 and RFC 7692. */
import type { CheckSettings } from '../check/index.ts';
import { quickPatterns } from '../check/quick-patterns.ts';
import { command } from './command.ts';
import { flag, integer, list, once, text, UsageError } from './options.ts';

export const check = command({
  name: 'check',
  positionals: '[ws://HOST:PORT/PATH]',
  summary: 'run the WebSocket conformance cases against a server or a client',
  description:
    'Runs 517 cases, numbered and judged as in the Autobahn test suite, and some beyond it (T.*), against an ' +
    'echo server at an address; or with --listen waits for echo clients, which use ' +
    '/getCaseCount, /runCase?case=N&agent=A and /updateReports?agent=A. Status 1 if a case failed. Progress goes to standard ' +
    'error. Ctrl-C ends with what there is and status 130; a second one ends at once.',
  examples: [
    ['tidings check ws://127.0.0.1:9001/', 'every case; takes minutes'],
    ['tidings check ws://127.0.0.1:9001/ --short --outdir report', 'the quick groups, with an HTML report'],
    ['tidings check ws://127.0.0.1:9001/ --cases 7.1.1 --frames', 'one case, with what went over the wire'],
    ['tidings check wss://localhost:8443/ --http2 --short', 'the quick groups on streams of HTTP/2'],
    ['tidings check --listen 9001', 'wait for clients'],
  ],
  options: {
    listen: text('PORT', 'Wait for clients on this port instead; 0 for any free one'),
    listenHost: text('HOST', 'Address to wait on', '127.0.0.1'),
    cases: list('PATTERN', 'Only these cases, such as 7.* or 9.1.6; may be repeated', /[\s,]+/),
    short: flag(`Only the groups that take seconds (${quickPatterns.join(' ')})`),
    parallel: integer('N', 'Cases at a time', { min: 1, max: 100, fallback: 8 }),
    patience: integer('N', "Factor on all time limits; the Autobahn suite's are 1", {
      min: 1,
      max: 1000,
      fallback: 5,
    }),
    messages: integer('N', 'Messages in each case of groups 12 and 13; 1000 in the Autobahn suite', {
      min: 1,
      max: 1000,
      fallback: 1000,
    }),
    agent: text('NAME', 'What the report calls the server; default: its address'),
    outdir: text('FOLDER', 'Write index.json, index.html and a page per case there'),
    http2: once(
      flag('On streams of HTTP/2 (RFC 8441), all of one session; with --listen that is without TLS'),
    ),
    frames: flag('Show the handshake and the frames of each case that did not pass'),
    json: flag('Print JSON instead of a table'),
    strict: flag('Status 1 also if a case is non-strict or unimplemented'),
  },
  async run({ values, positionals }) {
    const {
      listen,
      listenHost,
      cases,
      short: isShort,
      parallel,
      patience,
      messages,
      agent,
      outdir,
      http2,
      frames,
      json,
      strict: isStrict,
    } = values;
    const settings: CheckSettings = {
      isShort,
      parallel,
      patience,
      messages,
      outdir,
      http2,
      frames,
      json,
      isStrict,
      progress: process.stderr,
      write: (output) => process.stdout.write(output),
      ...(cases.length > 0 && { patterns: cases }),
      ...(agent !== undefined && { agent }),
    };
    const [address, ...rest] = positionals;
    if (rest.length > 0 || (address === undefined) === (listen === undefined)) {
      throw new UsageError('give one address, or --listen PORT');
    }
    const { checkClients, checkServer, interruptible } = await import('../check/index.ts');
    if (address !== undefined) {
      if (!/^wss?:\/\//.test(address) || !URL.canParse(address)) {
        throw new UsageError(`'${address}' is not a ws:// URL`);
      }
      return checkServer(address, { ...settings, signal: interruptible() });
    }
    const port = /^\d+$/.test(listen ?? '') ? Number(listen) : Number.NaN;
    if (!(port <= 65_535)) throw new UsageError(`--listen '${listen}' must be a port`);
    return checkClients(port, listenHost, interruptible(), settings);
  },
});
