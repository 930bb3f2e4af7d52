/** Calls the admin API of a running `tidings serve`. */
import { JsonText } from '../push/payload.ts';
import { text, UsageError } from './options.ts';

/** Where the server is, for the commands that talk to one. */
export const connection = {
  url: text('URL', 'The server', 'http://127.0.0.1:8080'),
  token: text('TOKEN', "The server's admin token"),
};

export interface AdminCall {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  path: string;
  body?: unknown;
  idempotencyKey?: string | undefined;
}

/**
 * @throws {UsageError} without a token or with a URL that is none
 * @throws {Error} with the server's own message, or saying that it can't be reached
 */
export async function callAdmin(
  { url, token }: { url: string; token: string | undefined },
  { method, path, body, idempotencyKey }: AdminCall,
): Promise<unknown> {
  if (token === undefined || token === '') {
    throw new UsageError('give the --token that the server was started with (--admin-token there)');
  }
  if (!/^https?:/.test(url) || !URL.canParse(url))
    throw new UsageError(`--url '${url}' is not an http(s) URL`);
  const target = new URL(path, url);
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
    throw new Error(`no answer from ${target.origin}: ${cause?.message || message}`);
  }
  const text = await response.text();
  let answer: { message?: unknown } | undefined;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(`${target.origin} answered ${response.status} without JSON: is it a tidings server?`);
  }
  if (!response.ok)
    throw new Error(`${target.origin} answered ${response.status}: ${String(answer?.message)}`);
  return answer;
}
