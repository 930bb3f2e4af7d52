/**
 * The in-site mail demo of `tidings serve --demo`: one page, and the way by which it sends. Anyone may write
 * to anyone in anyone's name: it shows the push server, it is not a mail system.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBeside } from '../beside.ts';
import { hostOf, requestTarget } from '../server/request-target.ts';

/** As much of a PushServer as the demo needs. */
export interface MailSender {
  send(user: string, data: unknown, options: { idempotencyKey: string }): Promise<object>;
}

export interface DemoOptions {
  push: MailSender;
  /** The name of this instance, shown on the page. */
  instance: string;
  /** Where the page finds the push server. Default `/socketServer`. */
  path?: string;
  /** The query parameter that the push server takes the user's name from. Default `operator`. */
  userParameter?: string;
}

interface Mail {
  id: string;
  from: string;
  to: string;
  subject: string;
  text: string;
}

const FIELDS: Record<keyof Mail, { min: number; max: number }> = {
  id: { min: 16, max: 64 },
  from: { min: 1, max: 128 },
  to: { min: 1, max: 128 },
  subject: { min: 0, max: 200 },
  text: { min: 0, max: 10_000 },
};
/** Bytes; more than the longest mail in UTF-8 with every character escaped. */
const MAX_BODY = 128 * 1024;

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** @returns a handler that answers what is the demo's, and returns false for all else */
export function demoSite(
  options: DemoOptions,
): (request: IncomingMessage, response: ServerResponse) => boolean {
  const html = String(readBeside(new URL('page.html', import.meta.url)));
  const assets = new Map([
    asset('page.css', 'text/css; charset=utf-8', readBeside(new URL('page.css', import.meta.url))),
    asset('page.js', 'text/javascript; charset=utf-8', readBeside(new URL('page.js', import.meta.url))),
    asset('texts.js', 'text/javascript; charset=utf-8', readBeside(new URL('texts.js', import.meta.url))),
    asset('icon.svg', 'image/svg+xml', readBeside(new URL('icon.svg', import.meta.url))),
  ]);

  return (request, response) => {
    const { path } = requestTarget(request);
    if (path === '/demo/mail') {
      if (isMethod(request, response, ['POST'])) void receive(request, response, options.push);
      return true;
    }
    const file = path === '/' ? page(html, options) : assets.get(path);
    if (file === undefined) return false;
    if (!isMethod(request, response, ['GET', 'HEAD'])) return true;
    response.writeHead(200, {
      ...securityHeaders(request),
      'Content-Type': file.type,
      'Content-Length': file.body.length,
      'Cache-Control': 'no-cache',
    });
    response.end(request.method === 'HEAD' ? undefined : file.body);
    return true;
  };
}

interface File {
  type: string;
  body: Buffer;
}

function asset(name: string, type: string, body: Buffer): [string, File] {
  return [`/demo/${name}`, { type, body }];
}

function page(html: string, { instance, path, userParameter }: DemoOptions): File {
  const settings = {
    instance,
    path: path ?? '/socketServer',
    userParameter: userParameter ?? 'operator',
  };
  const body = html.replace('{{settings}}', () => escapeAttribute(JSON.stringify(settings)));
  return { type: 'text/html; charset=utf-8', body: Buffer.from(body) };
}

function escapeAttribute(text: string): string {
  return text.replace(/[&"<>]/g, (char) => `&#${char.charCodeAt(0)};`);
}

function securityHeaders(request: IncomingMessage): Record<string, string> {
  // Safari before 15.4 does not count WebSockets of the same host as 'self'.
  const host = hostOf(request) ?? '';
  const socket = /^[\w.:[\]-]+$/.test(host) ? ` ws://${host} wss://${host}` : '';
  return {
    'Content-Security-Policy':
      `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'${socket}; ` +
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'same-origin',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
  };
}

function isMethod(request: IncomingMessage, response: ServerResponse, methods: string[]): boolean {
  if (methods.includes(request.method ?? '')) return true;
  const body = JSON.stringify({ error: 'method_not_allowed', message: `only ${methods.join(' and ')} here` });
  response.writeHead(405, { Allow: methods.join(', '), 'Content-Type': 'application/json' });
  response.end(body);
  return false;
}

async function receive(request: IncomingMessage, response: ServerResponse, push: MailSender): Promise<void> {
  let status = 201;
  let answer: object;
  try {
    const { to, ...data } = parseMail(await readBody(request));
    answer = await push.send(to, data, { idempotencyKey: data.id });
  } catch (error) {
    // What the push server won't take (a name it doesn't allow) is a TypeError; the rest is the store's.
    status = error instanceof Refusal ? error.status : error instanceof TypeError ? 400 : 503;
    answer = { error: 'not_sent', message: error instanceof Error ? error.message : String(error) };
  }
  if (response.destroyed) return;
  // A body that was not read to its end must not be taken for the next request.
  if (!request.complete) response.setHeader('Connection', 'close');
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Cache-Control': 'no-store',
  });
  response.end(JSON.stringify(answer));
}

async function readBody(request: IncomingMessage): Promise<string> {
  // A form of another site can't send this type without asking first, so nobody writes in a visitor's name.
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? ''))
    throw new Refusal(415, 'send the mail as application/json');
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    // Not at once: a sender that still writes when the connection ends may lose the answer in a reset.
    if (length > 8 * MAX_BODY) break;
    if (length <= MAX_BODY) chunks.push(chunk);
  }
  if (length > MAX_BODY) throw new Refusal(413, `a mail has at most ${MAX_BODY} bytes`);
  return Buffer.concat(chunks).toString();
}

function parseMail(body: string): Mail {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new Refusal(400, 'the mail is not JSON');
  }
  const mail = (value ?? {}) as Record<string, unknown>;
  const text = (name: keyof Mail): string => {
    const field = mail[name];
    const { min, max } = FIELDS[name];
    if (typeof field !== 'string' || field.length < min || field.length > max)
      throw new Refusal(400, `"${name}" must be a string of ${min} to ${max} characters`);
    return field;
  };
  return { id: text('id'), from: text('from'), to: text('to'), subject: text('subject'), text: text('text') };
}
