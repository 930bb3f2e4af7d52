/** `tidings listen`: what arrives for a user, as lines of JSON. */
import type { Message } from '../client/full.ts';
import { printable } from '../push/explain.ts';
import { textOfField } from '../push/talk/json-field.ts';
import { command } from './command.ts';
import { flag, integer, list, once, secret, text, UsageError } from './options.ts';
import { trustHint } from './trust-hint.ts';

export const listen = command({
  name: 'listen',
  positionals: '',
  summary: "print a user's messages as they come",
  description:
    'Connects as a page would and prints every message as one line of JSON; reconnects by itself and goes on ' +
    'where it was. What happens to the connection is said on standard error. It acknowledges nothing.\n\n' +
    'Status 0: it was ended by Ctrl-C or SIGTERM. 3: the server refuses (the ticket, the user, the path), and asking again ' +
    'would not help. 4: there was no connection for --give-up. 1: anything else.',
  examples: [
    ['tidings listen --user alice', 'at a server that believes the user’s bare name (--query-user, --demo)'],
    ['tidings listen --user alice --url https://localhost:8443 --http2', 'on a stream of HTTP/2'],
    ['tidings listen --ticket "$(tidings ticket alice --secret "$SECRET")"', 'at one that wants a ticket'],
  ],
  options: {
    user: text('NAME', 'Whose messages'),
    ticket: secret(text('TICKET', 'Signed by `tidings ticket` or the application')),
    url: text('URL', 'The server', 'http://127.0.0.1:8080'),
    path: text('PATH', "The server's WebSocket path, where --url has none", '/socketServer'),
    queryUser: text('PARAMETER', 'The query parameter that carries the bare name', 'operator'),
    topics: list('TOPIC', 'Subscribe to this topic, too; may be repeated', /[\s,]+/),
    giveUp: integer('SECONDS', 'Without a connection for so long, give up; 0: never', {
      min: 0,
      max: 31_536_000,
      fallback: 0,
    }),
    http2: once(flag('On a stream of HTTP/2 (RFC 8441), or say why there is none and go by HTTP/1.1')),
    json: flag('Print JSON, which it does anyway'),
    retained: flag('Begin with the oldest retained message instead of the next'),
  },
  async run({ values, positionals }) {
    const { user, ticket, queryUser, topics, retained, http2, giveUp: limit } = values;
    if (positionals.length > 0) throw new UsageError(`'${positionals[0]}'? Say whose messages with --user`);
    if (user === undefined && ticket === undefined) throw new UsageError('give --user or --ticket');
    const note = (text: string): void => console.error(`tidings listen: ${text}`);
    const [{ connect }, { WebSocket }] = await Promise.all([import('../client/full.ts'), import('../ws.ts')]);

    /** The text of the frame that is just being read. */
    let frame = '';
    /** Why there is no connection, where it is known. */
    let fault: string | undefined;
    /** How the connection came, where that was asked for. */
    let way = '';
    class Remembering extends WebSocket {
      constructor(address: string | URL, protocols?: string | string[]) {
        super(address, protocols, { http2 });
        this.on('open', () => {
          if (http2) way = this.fallbackReason === undefined ? ' by HTTP/2' : oldWay(this.fallbackReason);
        });
        this.on('message', (text) => {
          frame = String(text);
        });
        this.on('error', (error) => {
          fault = faultOf(error);
        });
      }
    }
    const client = connect({
      url: endpoint(values.url, values.path),
      ...(user !== undefined && { user, userParameter: queryUser }),
      ...(ticket !== undefined && { ticket }),
      topics,
      start: retained ? 'retained' : 'now',
      device: null,
      ack: 'manual',
      WebSocket: Remembering,
    });
    client.on('message', (message) => console.log(lineOf(message, frame)));
    client.on('gap', ({ channel, reason }) => note(`messages of ${channel} were lost (${reason})`));
    client.on('error', ({ code, message, channel }) => {
      note(`${channel === undefined ? '' : `${channel}: `}${message} (${code})`);
    });
    client.on('unsubscribed', ({ channel, reason }) => note(`no more of ${channel} (${reason})`));
    let lost: number | undefined = performance.now();
    client.on('open', (open) => {
      lost = undefined;
      note(`connected to ${open.instance} as ${open.user}${way}`);
    });

    let status: number | undefined;
    const giveUp = (why: string, as: number): void => {
      note(why);
      status = as;
      client.close();
    };
    const timer = setInterval(() => {
      const isOver = lost !== undefined && performance.now() - lost >= limit * 1000;
      if (limit > 0 && isOver) giveUp(`no connection for ${limit} s`, UNREACHABLE);
    }, 100);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => client.close());
    return new Promise((resolve) => {
      client.on('state', (state) => {
        if (state.name === 'waiting') {
          lost ??= performance.now();
          const why = fault ?? `${state.code} ${state.reason}`.trimEnd();
          fault = undefined;
          const [, answer] = /^the server answers (\d+)/.exec(why) ?? [];
          if (answer !== undefined && FINAL.has(Number(answer))) {
            giveUp(`${why}: ${FINAL.get(Number(answer))}`, REFUSED);
            return;
          }
          note(`no connection: ${why}; next try in ${(state.delay / 1000).toFixed(1)} s`);
        }
        if (state.name !== 'closed') return;
        clearInterval(timer);
        if (status === undefined && state.code !== 1000) {
          note(`the server ended it: ${`${state.code} ${state.reason}`.trimEnd()}`);
          status = state.code >= 4500 && state.code < 5000 ? REFUSED : 1;
        }
        resolve(status ?? 0);
      });
    });
  },
});

/** Exit statuses. */
const REFUSED = 3;
const UNREACHABLE = 4;

/** Answers to a handshake that stay what they are. */
const FINAL: ReadonlyMap<number, string> = new Map([
  [400, 'it does not take this request'],
  [401, 'it wants another --ticket or --user'],
  [403, 'this user may not come in'],
  [404, 'there is no tidings at this --url and --path'],
  [426, 'there is no tidings at this --url and --path'],
]);

function oldWay(reason: string): string {
  return ` by HTTP/1.1, as there is no HTTP/2: ${printable(reason)}`;
}

function faultOf(error: Error & { code?: unknown }): string {
  const { message, code } = error;
  const [, status] = /^Unexpected server response: (\d+)$/.exec(message) ?? [];
  if (status !== undefined) return `the server answers ${status}`;
  // Where a name has several addresses, the error of all has no message.
  return printable(message || String(code)) + trustHint(error);
}

/** With the data as they were sent: JavaScript can't hold every number that JSON can. */
function lineOf(message: Message, frame: string): string {
  const asItCame = message.data instanceof Uint8Array ? undefined : textOfField(frame, 'data');
  const fields = Object.entries(message).map(([name, value]) => {
    // Line feeds between the parts of JSON are none of it.
    const text = name === 'data' ? asItCame?.replace(/[\r\n]+/g, ' ') : undefined;
    return `${JSON.stringify(name)}:${text ?? JSON.stringify(value)}`;
  });
  return `{${fields.join(',')}}`;
}

function endpoint(url: string, path: string): string {
  if (!/^(https?|wss?):\/\//.test(url) || !URL.canParse(url)) {
    throw new UsageError(`--url is not an http(s) or ws(s) URL`);
  }
  const target = new URL(url);
  if (target.pathname === '/') target.pathname = path;
  return target.href;
}
