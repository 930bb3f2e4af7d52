/** What `tidings serve` does: the push server with its HTTP side, from the settings to a clean end. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { BlockList, isIPv6 } from 'node:net';
import { hostname } from 'node:os';
import { relative } from 'node:path';
import { AdminTokens } from '../admin/tokens.ts';
import { demoSite } from '../demo/index.ts';
import { memoryBroker, PushServer, queryUser, redisBroker } from '../index.ts';
import { authInterceptor } from './auth-url.ts';
import { parseLimits } from './limits.ts';
import { type LogOutput, logOutput } from './log-output.ts';
import { expiryOptions, loginInterceptors } from './login.ts';
import { secretsOf } from './login-options.ts';
import { type Settings, UsageError } from './options.ts';
import { servePolicy } from './policy.ts';
import { redisSettings } from './redis.ts';
import type { serveOptions } from './serve-options.ts';
import { checkServe, type ServeSettings } from './serve-settings.ts';
import { handedSockets, serviceManager } from './service-manager.ts';
import { type Sites, sites } from './site.ts';

/** A connection that sends half a request is let go as early as one that sends half a handshake. */
const HTTP_TIMES = { headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 1_000 };
/** Milliseconds for the answers of HTTP requests that are open at the end. */
const LAST_ANSWERS = 2_000;

/** @returns the exit status, after a signal has ended it */
export async function runServe(given: Settings<typeof serveOptions>): Promise<number> {
  checkServe(given);
  const settings = withDemo(given.values);
  const signal = terminated();
  const running = await start(settings);
  const isUp = await Promise.race([running.ready, signal.then(() => true)]);
  if (!isUp) return 1;
  await signal;
  running.ending();
  await running.close();
  return 0;
}

/** What --demo adds to what was not set. */
function withDemo(values: ServeSettings): ServeSettings {
  if (!values.demo) return values;
  const isLocal = isLoopback(values.host);
  return {
    ...values,
    queryUser: values.queryUser ?? 'operator',
    topics: values.topics.length > 0 ? values.topics : ['*'],
    // The demo's page lets anyone write to anyone, so a known token gives nothing away on loopback.
    adminToken:
      values.adminToken.length > 0
        ? values.adminToken
        : [isLocal ? 'demo' : randomBytes(16).toString('base64url')],
  };
}

interface Running {
  /** Resolves when the store has been reached and everything is announced; with false where it can't, which was told. */
  ready: Promise<boolean>;
  /** Says that it ends. */
  ending(): void;
  close(): Promise<void>;
}

async function start(settings: ServeSettings): Promise<Running> {
  const instance = settings.instance ?? `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
  const handed = handedSockets();
  if (handed.has('admin') && settings.adminPort === undefined) {
    throw new UsageError('systemd has handed over a socket by the name admin: that takes --admin-port');
  }
  const http = createServer(HTTP_TIMES);
  const output = logOutput(settings, instance);
  const { log } = output;
  const manager = serviceManager(log);
  const push = createPush(settings, instance, http, output);
  const { main, admin } = createSites(settings, push);
  http.on('request', main);
  const place = await listen(http, settings, handed.get('http'));
  const adminHttp = admin && createServer(HTTP_TIMES, admin);
  const adminAddress = { host: settings.adminHost, port: settings.adminPort ?? 0 };
  const adminPlace = adminHttp && (await listen(adminHttp, adminAddress, handed.get('admin')));
  const policy = await servePolicy(http, portOf(http) ?? settings.port, settings, log);

  const ready = async (): Promise<boolean> => {
    const waiting = setTimeout(
      () =>
        log('warn', 'waiting for the store; pages that come now have to wait, too', {
          event: 'store-awaited',
        }),
      2_000,
    );
    try {
      await push.ready;
    } catch {
      // The push server has logged why.
      return false;
    } finally {
      clearTimeout(waiting);
    }
    announce(settings, output, place, policy?.address()?.port);
    if (adminPlace !== undefined) output.announce(`http://${adminPlace}/admin`);
    manager.ready(`listening on http://${place}/`);
    return true;
  };
  return {
    ready: ready(),
    ending: () => {
      manager.stopping(`clients are told to leave within ${settings.drain} ms`);
      log(
        'info',
        `ending: clients are told to leave within ${settings.drain} ms (once more to end at once)`,
        {
          event: 'ending',
          drain: settings.drain,
        },
      );
    },
    async close() {
      await push.close({ drain: settings.drain });
      await policy?.close();
      await manager.told();
      await Promise.all([http, adminHttp].map((each) => each && closeGently(each)));
      await output.flush();
    },
  };
}

/** Lets answers that are on their way arrive. */
async function closeGently(http: Server): Promise<void> {
  const timer = setTimeout(() => http.closeAllConnections(), LAST_ANSWERS);
  http.close();
  await once(http, 'close');
  clearTimeout(timer);
}

/** @throws {UsageError} where the settings' values make no sense to the push server */
function createPush(
  settings: ServeSettings,
  instance: string,
  server: Server,
  { log, write }: LogOutput,
): PushServer {
  const { path, redis, queryUser: parameter, topics, origins, proxies } = settings;
  try {
    const interceptors = loginInterceptors(settings);
    const secret = secretsOf(settings.secret, settings.secretFile);
    const asking = authInterceptor(settings);
    if (asking !== undefined) interceptors.push(asking);
    if (parameter !== undefined) interceptors.push(queryUser(parameter));
    if (interceptors.length === 0) {
      log('warn', 'no page can sign in: give --secret, --jwks, --auth-url, --query-user or --demo', {
        event: 'nobody-can-sign-in',
      });
    }
    return new PushServer({
      server,
      path,
      ...(settings.sockjs !== 'off' && { sockjs: { prefix: settings.sockjs } }),
      instance,
      broker: redis === undefined ? memoryBroker() : redisBroker(redis, redisSettings(redis, settings)),
      interceptors,
      ...(secret.length > 0 && { topicTickets: { secret } }),
      origins: origins.includes('*') ? '*' : origins,
      proxies,
      ...parseLimits(settings.limit),
      topics: Object.fromEntries(settings.presence.map((topic) => [topic, { presence: true }])),
      expiry: expiryOptions(settings),
      plainCounts: settings.plainCounts,
      lease: settings.lease,
      confirmTimeout: settings.confirmTimeout,
      authorize: {
        subscribe: (_, topic) => topics.some((pattern) => matches(pattern, topic)),
        ...(settings.showPresence && { presence: () => true }),
      },
      log: write,
      logLevel: settings.logLevel,
      tracing: settings.tracing,
    });
  } catch (error) {
    throw error instanceof TypeError ? new UsageError(error.message) : error;
  }
}

function matches(pattern: string, topic: string): boolean {
  return pattern.endsWith('*') ? topic.startsWith(pattern.slice(0, -1)) : topic === pattern;
}

function createSites(settings: ServeSettings, push: PushServer): Sites {
  const { demo, path, queryUser: userParameter, limit, storeGrace, proxies, adminPort } = settings;
  const { instance } = push;
  return sites({
    push,
    tokens: new AdminTokens(settings.adminToken, settings.adminRate),
    log: push.log,
    maxBody: parseLimits(limit).limits.message,
    storeGrace,
    showData: settings.adminFrames === 'data',
    proxies,
    hasAdminPort: adminPort !== undefined,
    path,
    demo: demo
      ? demoSite({ push, instance, path, ...(userParameter !== undefined && { userParameter }) })
      : undefined,
  });
}

/**
 * @param fd a socket that listens already; else one is made of host and port
 * @returns where that is, as a URL has it
 */
async function listen(
  http: Server,
  { host, port }: { host: string; port: number },
  fd: number | undefined,
): Promise<string> {
  http.listen(fd === undefined ? { host, port } : { fd });
  try {
    await once(http, 'listening');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (fd !== undefined)
      throw new Error(`can't listen on the socket that systemd has handed over: ${message}`);
    const reason = code === 'EADDRINUSE' ? 'another program has it in use' : message;
    throw new Error(`can't listen on ${authority(host, port)}: ${reason}`);
  }
  const address = http.address();
  if (fd === undefined) return authority(host, portOf(http) ?? port);
  // Of a socket of Unix that it did not make itself Node does not know the path.
  return typeof address === 'object' && address !== null ? authority(address.address, address.port) : 'unix:';
}

/** Undefined for a socket of Unix. */
function portOf(http: Server): number | undefined {
  const address = http.address();
  return typeof address === 'object' ? address?.port : undefined;
}

/** One line for each endpoint; scripts wait for them. */
function announce(
  settings: ServeSettings,
  output: LogOutput,
  place: string,
  policyPort: number | undefined,
): void {
  const { host, path, sockjs, demo, adminToken } = settings;
  output.announce(`http://${place}/`);
  output.announce(`ws://${place}${path}`);
  if (sockjs !== 'off') output.announce(`http://${place}${sockjs}`);
  if (policyPort !== undefined) output.announce(`policy://${authority(host, policyPort)}`);
  if (demo && settings.logFormat === 'text') {
    console.log(`open http://${place}/ in two windows, or send from another terminal:`);
    const [token] = adminToken;
    console.log(`  ${programName()} send alice "hello" --url http://${place} --token ${token}`);
  }
}

/** How the user has called this program, so that the line above can be pasted. */
function programName(): string {
  const path = relative('.', process.argv[1] ?? '');
  return path.endsWith('.js') || path.endsWith('.ts') ? `node ${path}` : 'tidings';
}

function authority(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

function isLoopback(host: string): boolean {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8);
  loopback.addAddress('::1', 'ipv6');
  return host === 'localhost' || loopback.check(host) || loopback.check(host, 'ipv6');
}

/** Resolves on the first SIGTERM or SIGINT. A second one ends the process at once. */
function terminated(): Promise<void> {
  return new Promise((resolve) => {
    let isSecond = false;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (isSecond) process.exit(1);
        isSecond = true;
        resolve();
      });
    }
  });
}
