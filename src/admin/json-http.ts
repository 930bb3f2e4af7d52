/** JSON over HTTP for the admin API: bodies read within limits, errors in one shape. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { JsonText } from '../push/payload.ts';

/** Ends a request with this status and `{"error": code, "message": …}`. */
export class HttpError extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Record<string, string>;
  constructor(status: number, code: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  const body = Buffer.from(`${stringify(value)}\n`);
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    ...headers,
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

/** As `JSON.stringify`, with each `JsonText` as its text. */
function stringify(value: unknown): string {
  const texts: string[] = [];
  // By chance, so that nobody's data can stand for another's.
  const mark = randomUUID();
  const json = JSON.stringify(value, (_name, inner: unknown) => {
    if (!(inner instanceof JsonText)) return inner;
    texts.push(inner.text);
    return mark;
  });
  if (texts.length === 0) return json;
  let at = 0;
  return json.replaceAll(`"${mark}"`, () => texts[at++]!);
}

export function sendError(response: ServerResponse, error: HttpError): void {
  sendJson(response, error.status, { error: error.code, message: error.message }, error.headers);
}

/**
 * The request's body as it came. Any JSON value will do.
 *
 * @param limit bytes
 * @throws {HttpError} 400 not JSON or not UTF-8, 413 over the limit, 415 declared as something else
 */
export async function readJson(request: IncomingMessage, limit: number): Promise<JsonText> {
  const type = request.headers['content-type'] ?? 'application/json';
  const [essence = '', ...parameters] = type.split(';').map((part) => part.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith('charset='));
  const isUtf8 = charset === undefined || /^charset="?utf-?8"?$/.test(charset);
  if (!/^application\/(?:[\w.+-]+\+)?json$/.test(essence) || !isUtf8) {
    throw new HttpError(415, 'unsupported_media_type', `send application/json in UTF-8, not ${type}`);
  }
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') {
    throw new HttpError(415, 'unsupported_media_type', `send the body as it is, not as ${encoding}`);
  }

  const body = await readBody(request, limit);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    throw new HttpError(400, 'bad_json', 'the body is not UTF-8');
  }
  try {
    return new JsonText(text);
  } catch (error) {
    throw new HttpError(400, 'bad_json', `the body is not JSON: ${(error as Error).message}`);
  }
}

async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const tooLarge = new HttpError(413, 'body_too_large', `the body may have at most ${limit} bytes`, {
    Connection: 'close',
  });
  // Answering while the sender still writes can lose the answer in a reset, so a body that is not vastly too
  // large is read to its end first.
  const patience = 8 * limit;
  if (Number(request.headers['content-length'] ?? 0) > patience) throw tooLarge;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > patience) throw tooLarge;
    if (size <= limit) chunks.push(chunk);
    else chunks.length = 0;
  }
  if (size > limit) throw tooLarge;
  return Buffer.concat(chunks);
}
