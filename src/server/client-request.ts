/** What a client's options make of its HTTP request. Where that goes, its target alone says. */
import {
  type ClientRequest,
  type RequestOptions as HttpRequestOptions,
  request as httpRequest,
} from 'node:http';
import { type RequestOptions as HttpsRequestOptions, request as httpsRequest } from 'node:https';
import { isIP, type NetConnectOpts, connect as netConnect, type TcpSocketConnectOpts } from 'node:net';
import { type ConnectionOptions as TlsConnectionOptions, connect as tlsConnect } from 'node:tls';
import type { Target } from './client-target.ts';

/** Options of node:http and node:net that are passed on. */
const FOR_ANY_HOST = [
  // node:http
  'agent',
  'createConnection',
  'insecureHTTPParser',
  'joinDuplicateHeaders',
  'maxHeaderSize',
  'uniqueHeaders',
  // node:net
  'autoSelectFamily',
  'autoSelectFamilyAttemptTimeout',
  'family',
  'hints',
  'keepAlive',
  'keepAliveInitialDelay',
  'localAddress',
  'localPort',
  'lookup',
  'noDelay',
  // node:tls: whom to trust, and how to speak
  'ALPNProtocols',
  'ca',
  'checkServerIdentity',
  'ciphers',
  'crl',
  'dhparam',
  'ecdhCurve',
  'enableTrace',
  'honorCipherOrder',
  'maxVersion',
  'minDHSize',
  'minVersion',
  'rejectUnauthorized',
  'requestOCSP',
  'secureOptions',
  'secureProtocol',
  'sessionIdContext',
  'sigalgs',
] as const;

/** Options of node:tls that were meant for the address's host: who we are to it, and its name. */
const FOR_FIRST_HOST = [
  'cert',
  'clientCertEngine',
  'key',
  'passphrase',
  'pfx',
  'privateKeyEngine',
  'privateKeyIdentifier',
  'pskCallback',
  'secureContext',
  'servername',
  'session',
  'socket',
] as const;

type NodeOptions = HttpsRequestOptions & TlsConnectionOptions & Omit<TcpSocketConnectOpts, 'port' | 'host'>;
type PassedOnName = (typeof FOR_ANY_HOST)[number] | (typeof FOR_FIRST_HOST)[number];

/** Options of node:http, node:https, node:net and node:tls that a client hands on. */
export type PassedOnOptions = { [Name in PassedOnName & keyof NodeOptions]?: NodeOptions[Name] | undefined };

/** What a TLS connection to the host is made with. */
export function tlsOptions(options: PassedOnOptions, isFirstHost: boolean): object {
  return { ...pick(options, FOR_ANY_HOST), ...(isFirstHost ? pick(options, FOR_FIRST_HOST) : {}) };
}

/** Makes the request. It is not sent yet, but its connection is being opened. */
export function makeRequest(
  target: Target,
  options: PassedOnOptions,
  headers: Record<string, string>,
  isFirstHost: boolean,
): ClientRequest {
  const settings: HttpRequestOptions = {
    ...tlsOptions(options, isFirstHost),
    headers,
    method: 'GET',
    host: target.hostname,
    // The default is a number, as agents of applications compare it with one.
    port: target.url.port || (target.isSecure ? 443 : 80),
    defaultPort: target.isSecure ? 443 : 80,
    path: target.path,
  };
  if (target.socketPath !== undefined) settings.socketPath = target.socketPath;
  // Where neither is given, no agent: it would keep count of a socket that will never be free again.
  if (!options.createConnection && !options.agent) {
    settings.agent = undefined;
    settings.createConnection = target.isSecure ? connectTls : connectPlain;
  }
  return target.isSecure ? httpsRequest(settings) : httpRequest(settings);
}

/** Ends a request, whatever has become of it, and its connection. */
export function discardRequest(request: ClientRequest): void {
  // Behind a response that was read to its end, an agent has the socket back. Without one, nobody has.
  const isReturned = hasAgent(request) && request.destroyed;
  request.destroy();
  if (!isReturned) request.socket?.destroy();
}

export function hasAgent(request: ClientRequest): boolean {
  return Boolean((request as { agent?: unknown }).agent);
}

function pick<T extends object>(from: T, names: readonly PropertyKey[]): Partial<T> {
  const picked: Partial<T> = {};
  for (const name of names as readonly (keyof T)[]) {
    if (from[name] !== undefined) picked[name] = from[name];
  }
  return picked;
}

type Connect = NonNullable<HttpRequestOptions['createConnection']>;

// `path` is the request's in these options, and a unix socket's for node:net.
const connectPlain: Connect = (options) =>
  netConnect({ ...options, path: options.socketPath } as unknown as NetConnectOpts);

const connectTls: Connect = (options) => {
  const { host, servername } = options as { host?: string; servername?: string };
  return tlsConnect({
    ...options,
    path: undefined,
    servername: servername ?? (host === undefined || isIP(host) ? '' : host),
  } as TlsConnectionOptions);
};

/** The header lines that an application gives, in its spelling. */
export class ClientHeaders {
  readonly #lines = new Map<string, { name: string; value: unknown }>();

  /** @param given an object, pairs, or a flat list of names and values */
  constructor(given: unknown) {
    for (const [name, value] of pairsOf(given)) {
      const key = name.toLowerCase();
      const line = this.#lines.get(key);
      // In a list a name may come again, and means another line.
      if (line !== undefined && isIterable(given)) line.value = [line.value, value].flat();
      else this.#lines.set(key, { name, value });
    }
  }

  has(name: string): boolean {
    return this.#lines.has(name.toLowerCase());
  }

  get(name: string): unknown {
    return this.#lines.get(name.toLowerCase())?.value;
  }

  set(name: string, value: string): void {
    this.#lines.set(name.toLowerCase(), { name, value });
  }

  delete(name: string): void {
    this.#lines.delete(name.toLowerCase());
  }

  /** All lines, `own` in place of the application's of the same name. */
  with(own: Record<string, string>): Record<string, string> {
    const names = new Set(Object.keys(own).map((name) => name.toLowerCase()));
    const lines: [string, unknown][] = [];
    for (const [key, { name, value }] of this.#lines) {
      if (!names.has(key)) lines.push([name, value]);
    }
    return Object.fromEntries([...lines, ...Object.entries(own)]) as Record<string, string>;
  }
}

function pairsOf(given: unknown): [string, unknown][] {
  if (!isIterable(given)) return Object.entries(given ?? {});
  const items = [...given];
  if (items.every(Array.isArray)) return items.map(([name, value]) => [String(name), value]);
  const pairs: [string, unknown][] = [];
  for (let at = 0; at < items.length; at += 2) pairs.push([String(items[at]), items[at + 1]]);
  return pairs;
}

function isIterable(given: unknown): given is Iterable<unknown> {
  return typeof given === 'object' && given !== null && Symbol.iterator in given;
}
