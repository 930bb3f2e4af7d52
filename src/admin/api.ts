/**
 * The admin API of `tidings serve`: programs in any language send messages by HTTP, and operators look and step in.
 * `routes` says what there is; here is who may ask for it, how often, and what is written down of it.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Log } from '../log-fields.ts';
import { printable } from '../push/explain.ts';
import { loginProblem, topicProblem, userProblem } from '../push/talk/names.ts';
import { attempt } from '../server/handler-calls.ts';
import { requestTarget } from '../server/request-target.ts';
import { HttpError, sendError, sendJson } from './json-http.ts';
import { Guesses } from './pace.ts';
import { asHttpError, queryOf, refuseBody } from './request.ts';
import { type Call, type Route, RouteTable } from './route.ts';
import type { AdminToken, AdminTokens } from './tokens.ts';

export interface AdminOptions {
  routes: readonly Route[];
  /** Without any, what needs one is off. */
  tokens: AdminTokens;
  /** Default: no log. */
  log?: Log;
  /** The client's, as trusted proxies tell it. Default: that of the connection. */
  addressOf?: (request: IncomingMessage) => string;
}

/** For the audit line. */
interface Change {
  route: Route;
  token: AdminToken;
  call: Call;
  path: string;
  address: string;
}

/** What is about a user and the like: by these names in the path, log lines have it as well. */
const NAMED = ['user', 'login', 'topic', 'id'];
const PREFIX = '/api/';

export interface AdminApi {
  /** Whether the path is one of the API's, or could be: then `listener` answers. */
  has(path: string): boolean;
  /** Never rejects. */
  listener(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

export function adminApi({
  routes,
  tokens,
  log = () => {},
  addressOf = remoteAddress,
}: AdminOptions): AdminApi {
  const table = new RouteTable(routes);
  // What was done is done, whatever becomes of the line.
  const note: Log = (...line) =>
    attempt(
      () => log(...line),
      () => {},
    );
  const isWhole = routes.some(({ path }) => path.startsWith(PREFIX));
  const guesses = new Guesses();

  /** @throws {HttpError} for who may not ask, or too often */
  function authorized(request: IncomingMessage, address: string, route: Route | undefined): AdminToken {
    if (tokens.size === 0) {
      throw new HttpError(403, 'admin_api_off', 'the admin API is off: start the server with --admin-token');
    }
    const [, given] = /^Bearer +([^\s]+) *$/i.exec(request.headers.authorization ?? '') ?? [];
    const token = given === undefined ? undefined : tokens.find(given);
    if (token === undefined) throw refusal(address, given !== undefined);
    const wait = token.pace.take();
    if (wait > 0) throw tooMany('this token has asked too often', wait);
    const { scope } = route ?? {};
    if (scope !== undefined && !token.scopes.has(scope)) {
      const challenge = `Bearer realm="tidings", error="insufficient_scope", scope="${scope}"`;
      throw new HttpError(403, 'scope_missing', `this takes a token with the scope ${scope}`, {
        'WWW-Authenticate': challenge,
      });
    }
    return token;
  }

  function refusal(address: string, isGiven: boolean): HttpError {
    if (!isGiven) {
      return new HttpError(401, 'token_missing', 'send the header Authorization: Bearer TOKEN', {
        'WWW-Authenticate': 'Bearer realm="tidings"',
      });
    }
    const { wait, isFirst } = guesses.wrong(address);
    if (isFirst) {
      note('warn', `the admin API was asked with a wrong token from ${printable(address)}`, {
        event: 'admin-refused',
        address: printable(address),
      });
    }
    if (wait > 0) return tooMany('too many wrong tokens', wait, { Connection: 'close' });
    return new HttpError(401, 'token_wrong', 'this is not an admin token of this server', {
      'WWW-Authenticate': 'Bearer realm="tidings", error="invalid_token"',
    });
  }

  function audit({ route, token, call, path, address }: Change, status: number): void {
    const named = Object.fromEntries(
      NAMED.filter((name) => call.names[name]).map((name) => [name, printable(call.names[name]!)]),
    );
    const whom = Object.entries(named).map(([name, value]) => ` ${name} ${value}`);
    note('info', `${token.name} by HTTP: ${route.operation}${whom.join('')}: ${status}`, {
      ...(route.isSending ? { event: 'admin-send' } : { event: 'admin-change' }),
      token: token.name,
      operation: route.operation,
      method: route.method,
      path: path.slice(0, 1_000),
      ...named,
      ...(Object.keys(call.query).length > 0 && {
        parameters: new URLSearchParams(call.query).toString().slice(0, 1_000),
      }),
      ...call.audit,
      status,
      address,
    });
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { path } = requestTarget(request);
    // Where a body is broken off, the connection is gone, and nobody knows any more whose it was.
    const address = addressOf(request);
    const found = table.find(path);
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
    const route = found?.methods.get(method);
    // Nor does it say to everybody what there is.
    const isOpen =
      found !== undefined && [...found.methods.values()].every(({ scope }) => scope === undefined);
    const token = isOpen || route?.isOpenTo?.(request) ? undefined : authorized(request, address, route);
    if (found === undefined) throw new HttpError(404, 'not_found', `there is nothing at ${path}`);
    if (route === undefined) {
      const allow = [...found.methods.keys()].flatMap((each) => (each === 'GET' ? ['GET', 'HEAD'] : [each]));
      const all = allow.join(', ');
      throw new HttpError(405, 'method_not_allowed', `${path} takes ${all}`, { Allow: all });
    }
    const query =
      route.query !== undefined || route.method !== 'GET'
        ? queryOf(request, Object.keys(route.query ?? {}))
        : {};
    const names = Object.fromEntries(
      Object.entries(found.names).map(([name, text]) => [name, checkedName(name, text)]),
    );
    const call: Call = { request, response, names, query, audit: {} };
    const change =
      token !== undefined && route.scope !== 'read' ? { route, token, call, path, address } : undefined;
    try {
      if (route.body === undefined && route.method !== 'GET') await refuseBody(request);
      const result = await route.handle(call);
      if (change) audit(change, result?.status ?? response.statusCode);
      if (result !== undefined) sendJson(response, result.status, result.body);
    } catch (error) {
      const told = asHttpError(error);
      if (change) audit(change, told.status);
      throw told;
    }
  }

  return {
    has: (path) => (isWhole && path.startsWith(PREFIX)) || table.find(path) !== undefined,
    async listener(request, response) {
      try {
        await answer(request, response);
      } catch (error) {
        if (!response.headersSent && !response.destroyed) sendError(response, asHttpError(error));
      }
    },
  };
}

/** The same as what `http.createServer` takes. */
export function listenerOf(api: AdminApi): RequestListener {
  return (request, response) => void api.listener(request, response);
}

function remoteAddress(request: IncomingMessage): string {
  return request.socket.remoteAddress ?? '';
}

function tooMany(why: string, wait: number, headers: Record<string, string> = {}): HttpError {
  const retry = { 'Retry-After': String(wait), ...headers };
  return new HttpError(429, 'too_many_requests', `${why}: wait ${wait} s`, retry);
}

const PROBLEMS: Record<string, (name: string) => string | undefined> = {
  user: userProblem,
  login: loginProblem,
  topic: topicProblem,
};

/** A part of a path, decoded. @throws {HttpError} for what can't be one */
function checkedName(name: string, encoded: string): string {
  const text = decodeName(encoded);
  const problem = PROBLEMS[name]?.(text);
  if (problem !== undefined) throw new HttpError(400, 'bad_request', problem);
  return text;
}

function decodeName(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new HttpError(400, 'bad_name', 'the name in the path is not percent-encoded UTF-8');
  }
}
