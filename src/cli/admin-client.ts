/** Calls the admin API of a running `tidings serve`. */
import { JsonText } from '../push/payload.ts';
import { flag, type Option, secret, text, UsageError } from './options.ts';
import { trustHint } from './trust-hint.ts';

/** One of those that the server has: its list may come from the same environment or file. Scopes are the server's to know. */
function token(): Option<string | undefined> {
  const parse = (all: string[]): string => {
    const mine = all.find((each) => !SCOPED.test(each)) ?? all[0];
    if (mine === undefined) throw new UsageError('is empty');
    if (/\s/.test(mine)) throw new UsageError('must be without spaces');
    return mine.replace(SCOPED, '');
  };
  const alone = text('TOKEN', "The server's admin token");
  return secret({ ...alone, sharedAs: 'adminToken', separator: /\s+/, parse });
}

/** Before a token: what it may be used for. */
const SCOPED = /^(?:read|send|control)(?:,(?:read|send|control))*=(?!=*$)/i;

/** Where the server is, for the commands that talk to one. */
export const connection = {
  url: text('URL', 'The server', 'http://127.0.0.1:8080'),
  token: token(),
};

/** For commands that print JSON in any case, so that scripts may say `--json` to all. */
export const printsJson = { json: flag('Print JSON, which it does anyway') };

export interface AdminCall {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  path: string;
  body?: unknown;
  idempotencyKey?: string | undefined;
}

/** The server has refused, or can't be reached. */
export class AdminError extends Error {
  /** Of HTTP; undefined where there was no answer. */
  readonly status: number | undefined;

  constructor(message: string, status?: number) {
    super(message);
    this.name = 'AdminError';
    this.status = status;
  }

  /** Whether the same call may be answered otherwise a little later. */
  get mayPass(): boolean {
    return this.status === undefined || this.status >= 500;
  }
}

/** A name as a part of a URL's path. @throws {UsageError} for . and .., which would be another path */
export function inPath(name: string): string {
  if (/^\.\.?$/.test(name)) throw new UsageError(`'${name}' can't be a name`);
  return encodeURIComponent(name);
}

/** The path with these parameters. One that is undefined is left out. */
export function withQuery(path: string, parameters: Record<string, string | number | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) query.set(name, String(value));
  }
  return query.size === 0 ? path : `${path}?${query}`;
}

/**
 * Takes back what is at this path, and prints what the server says.
 *
 * @returns the exit status: 1 where there was nothing to take back
 */
export async function takeBack(where: Where, path: string): Promise<number> {
  const answer = (await callAdmin(where, { method: 'DELETE', path })) as Record<string, unknown>;
  console.log(JSON.stringify(answer));
  return answer['withdrawn'] === true || answer['cancelled'] === true ? 0 : 1;
}

/**
 * @throws {UsageError} without a token or with a URL that is none
 * @throws {AdminError} with the server's own message, or saying that it can't be reached
 */
export async function callAdmin(where: Where, call: AdminCall): Promise<unknown> {
  return JSON.parse(await callAdminForText(where, call));
}

interface Where {
  url: string;
  token: string | undefined;
}

/** The same, with the answer's JSON as it came. */
export async function callAdminForText(
  { url, token }: Where,
  { method, path, body, idempotencyKey }: AdminCall,
): Promise<string> {
  if (token === undefined || token === '') {
    throw new UsageError(
      'give the --token that the server was started with (--admin-token there), or TIDINGS_ADMIN_TOKEN',
    );
  }
  if (!/^https?:/.test(url) || !URL.canParse(url)) throw new UsageError(`--url is not an http(s) URL`);
  const target = new URL(path, url);
  // What fetch would say of it has the password.
  if (target.username !== '' || target.password !== '') {
    throw new UsageError('--url is the address without a name or password: give the --token');
  }
  let response: Response;
  try {
    response = await fetch(target, {
      method,
      headers: {
        Authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
        ...(idempotencyKey !== undefined && { 'Idempotency-Key': idempotencyKey }),
      },
      body: body === undefined ? null : body instanceof JsonText ? body.text : JSON.stringify(body),
      redirect: 'error',
    });
  } catch (error) {
    const { cause, message } = error as Error & { cause?: Error };
    throw new AdminError(`no answer from ${target.origin}: ${cause?.message || message}${trustHint(cause)}`);
  }
  const text = await response.text().catch((error: Error) => {
    throw new AdminError(`the answer of ${target.origin} broke off: ${error.message}`);
  });
  let answer: { message?: unknown } | undefined;
  try {
    answer = JSON.parse(text);
  } catch {
    // What V8 says about it quotes the answer, and does not help who has the wrong address.
    const what = `${target.origin} answered ${response.status} without JSON: is it a tidings server?`;
    throw new AdminError(what, response.status);
  }
  if (!response.ok)
    throw new AdminError(
      `${target.origin} answered ${response.status}: ${String(answer?.message)}`,
      response.status,
    );
  return text;
}
