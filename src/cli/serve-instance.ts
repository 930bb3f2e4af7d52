/** One instance of `tidings serve`: the push server with its HTTP side, alone or as one of several workers. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { isIPv6 } from 'node:net';
import { AdminTokens } from '../admin/tokens.ts';
import { demoSite } from '../demo/index.ts';
import { memoryBroker, PushServer, postgresBroker, redisBroker, source } from '../index.ts';
import type { Log } from '../log-fields.ts';
import type { Family } from '../metrics/index.ts';
import type { PolicyServer } from '../policy/index.ts';
import { OwnHttp } from '../server/own-http.ts';
import { parseLimits } from './limits.ts';
import type { LogOutput } from './log-output.ts';
import { UsageError } from './options.ts';
import { servePolicy } from './policy.ts';
import { asUsage, changeableOptions, changesOf } from './serve-push.ts';
import type { ServeSettings } from './serve-settings.ts';
import type { SocketName } from './service-manager.ts';
import { type Sites, sites } from './site.ts';
import { storeOf } from './store.ts';
import { tlsOf } from './tls-options.ts';

/** Milliseconds that the sources may take to connect before the server is said to run without them. */
const SOURCES = 3_000;

export interface InstanceParts {
  name: string;
  output: LogOutput;
  /** Sockets that listen already, which it takes in place of making its own. */
  handed: ReadonlyMap<SocketName, number>;
  /** What /metrics tells, where that is more than what this instance does. */
  metrics?: () => Promise<Family[]>;
  /** Whether those that it belongs to are still starting. */
  isWaiting?: () => boolean;
}

/** Where it listens, as URLs have it. */
export interface Places {
  http: string;
  admin?: string | undefined;
  policy?: string | undefined;
}

export class Instance {
  /** Resolves once it is known that a source can never be used, with why; the log has it. */
  readonly failed: Promise<Error>;
  #fail!: (error: Error) => void;
  readonly #parts: InstanceParts;
  readonly #push: PushServer;
  readonly #tokens: AdminTokens;
  readonly #http: OwnHttp;
  #adminHttp: OwnHttp | undefined;
  #policy: PolicyServer | undefined;
  #place = '';
  #adminPlace: string | undefined;
  #settings: ServeSettings;
  #sites: Sites;

  private constructor(settings: ServeSettings, parts: InstanceParts) {
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#settings = settings;
    this.#parts = parts;
    this.#http = this.#makeHttp('main');
    this.#push = this.#makePush(parts);
    this.#tokens = new AdminTokens(settings.adminToken, settings.adminRate);
    this.#sites = this.#makeSites(settings);
  }

  /**
   * Begins to listen, and to connect to the store.
   *
   * @throws {UsageError} where the settings make no sense to the push server, {Error} where it can't listen
   */
  static async start(settings: ServeSettings, parts: InstanceParts): Promise<Instance> {
    const instance = new Instance(settings, parts);
    await instance.#listen();
    return instance;
  }

  /** Resolves when the store has been reached. Rejects where the push server can't start, which it has logged. */
  async ready(): Promise<void> {
    const { log } = this.#parts.output;
    const waiting = setTimeout(() => {
      log('warn', 'waiting for the store; pages that come now have to wait, too', { event: 'store-awaited' });
    }, 2_000);
    try {
      await this.#push.ready;
    } finally {
      clearTimeout(waiting);
    }
    // A source that can't be reached now is tried again; one that never can is a mistake in the settings.
    const ready = Promise.all(this.#settings.source.map((url) => source(this.#push, url).ready));
    ready.catch((error: Error) => this.#fail(error));
    await Promise.race([ready, new Promise((resolve) => setTimeout(resolve, SOURCES).unref())]);
  }

  get places(): Places {
    const policy = this.#policy?.address()?.port;
    return {
      http: this.#place,
      admin: this.#adminPlace,
      policy: policy === undefined ? undefined : authority(this.#settings.host, policy),
    };
  }

  get log(): Log {
    return this.#parts.output.log;
  }

  metrics(): Family[] {
    return this.#push.metrics();
  }

  /**
   * Goes on by these settings; of those that need a restart they have the old ones.
   *
   * @param isTrial only look whether that is possible
   * @throws {Error} where it is not; then all stays as it was
   */
  async reload(settings: ServeSettings, isTrial: boolean): Promise<void> {
    const sites = this.#makeSites(settings);
    await this.#push.reload(changesOf(this.#settings, settings), { trial: isTrial });
    if (isTrial) return;
    this.#settings = settings;
    const tls = tlsOf(settings);
    if (tls !== undefined) for (const http of this.#servers) http.setSecureContext(tls);
    this.#tokens.set(settings.adminToken);
    this.#push.logLevel = settings.logLevel;
    this.#parts.output.level = settings.logLevel;
    this.#sites = sites;
  }

  /** @param hasOthers on the same port, that stay: they get whoever comes from here on */
  async close(hasOthers: boolean): Promise<void> {
    const { drain } = this.#settings;
    const told = `ending: clients are told to leave within ${drain} ms (once more to end at once)`;
    this.#parts.output.log('info', told, { event: 'ending', drain });
    const servers = this.#servers;
    const stop = (http: OwnHttp): Promise<void> => http.stop();
    const early = hasOthers ? servers.map(stop) : undefined;
    await this.#push.close({ drain });
    await this.#policy?.close();
    const closed = early ?? servers.map(stop);
    await Promise.all(servers.map((http, i) => http.closeGently(closed[i]!)));
    await this.#parts.output.flush();
  }

  get #servers(): OwnHttp[] {
    return [this.#http, this.#adminHttp].filter((each) => each !== undefined);
  }

  #makeHttp(side: keyof Sites): OwnHttp {
    const tls = tlsOf(this.#settings);
    const http2 = this.#settings.http2 === 'on';
    return new OwnHttp({ tls, http2 }, (request, response) => this.#sites[side]!(request, response));
  }

  async #listen(): Promise<void> {
    const { adminHost: host, adminPort } = this.#settings;
    const { handed, output } = this.#parts;
    if (handed.has('admin') && adminPort === undefined) {
      throw new UsageError('systemd has handed over a socket by the name admin: that takes --admin-port');
    }
    this.#place = await listen(this.#http.server as Server, this.#settings, handed.get('http'));
    if (this.#sites.admin !== undefined) {
      this.#adminHttp = this.#makeHttp('admin');
      this.#adminPlace = await listen(
        this.#adminHttp.server as Server,
        { host, port: adminPort ?? 0 },
        handed.get('admin'),
      );
    }
    const http = this.#http.server as Server;
    this.#policy = await servePolicy(http, portOf(http) ?? this.#settings.port, this.#settings, output.log);
  }

  #makePush({ name, output, isWaiting = () => false }: InstanceParts): PushServer {
    const settings = this.#settings;
    const { path } = settings;
    const changeable = changeableOptions(settings);
    if (changeable.interceptors.length === 0) {
      const text = 'no page can sign in: give --secret, --jwks, --auth-url, --query-user or --demo';
      output.log('warn', text, { event: 'nobody-can-sign-in' });
    }
    return asUsage(
      () =>
        new Served(isWaiting, {
          server: this.#http.server,
          path,
          ...(settings.sockjs !== 'off' && { sockjs: { prefix: settings.sockjs } }),
          instance: name,
          broker: storeOf(settings, { redisBroker, postgresBroker }) ?? memoryBroker(),
          lease: settings.lease,
          confirmTimeout: settings.confirmTimeout,
          log: output.write,
          logLevel: settings.logLevel,
          tracing: settings.tracing,
          ...changeable,
        }),
    );
  }

  #makeSites(settings: ServeSettings): Sites {
    const { demo, path, queryUser: userParameter, limit, storeGrace, proxies, adminPort } = settings;
    const push = this.#push;
    const { instance } = push;
    return sites({
      push,
      tokens: this.#tokens,
      log: push.log,
      maxBody: parseLimits(limit).limits.message,
      storeGrace,
      showData: settings.adminFrames === 'data',
      proxies,
      hasAdminPort: adminPort !== undefined,
      metrics: this.#parts.metrics,
      path,
      demo: demo
        ? demoSite({ push, instance, path, ...(userParameter !== undefined && { userParameter }) })
        : undefined,
    });
  }
}

/** It is not ready before all are that it belongs to. */
class Served extends PushServer {
  readonly #isWaiting: () => boolean;

  constructor(isWaiting: () => boolean, options: ConstructorParameters<typeof PushServer>[0]) {
    super(options);
    this.#isWaiting = isWaiting;
  }

  override health(settings: Parameters<PushServer['health']>[0] = {}): ReturnType<PushServer['health']> {
    const health = super.health(settings);
    return health.ready && this.#isWaiting() ? { ...health, ready: false, reason: 'starting' } : health;
  }
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
    if (fd !== undefined) {
      throw new Error(`can't listen on the socket that systemd has handed over: ${message}`);
    }
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

export function authority(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
