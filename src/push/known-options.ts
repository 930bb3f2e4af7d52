/** What the options of a push server are called, and of what kind they are: a mistake is told, not passed over. */
import { checkMethods, checkNames, type Names } from '../option-names.ts';
import type { PolicyGrant } from '../policy/index.ts';
import type { Retention } from '../pubsub/store/broker.ts';
import { checkInterceptors } from '../server/options.ts';
import type { Handler } from '../server/transport.ts';
import type { Overflow, TopicOptions } from './delivery/topic-options.ts';
import { checkedAge } from './limits.ts';
import {
  type Authorize,
  DEFAULT_HEARTBEAT,
  DEFAULT_LIMITS,
  type PolicyOptions,
  type PushInterceptor,
  type PushServerOptions,
  type PushSockJsOptions,
  type ReferenceOptions,
  type RetentionOptions,
} from './options.ts';
import type { ExpiryOptions } from './pages/logins.ts';
import type { Session } from './pages/session.ts';

const OPTIONS: Names<PushServerOptions> = {
  server: true,
  port: true,
  host: true,
  tls: true,
  http2: true,
  path: true,
  sockjs: true,
  instance: true,
  broker: true,
  interceptors: true,
  refusals: true,
  expiry: true,
  handler: true,
  origins: true,
  proxies: true,
  heartbeat: true,
  limits: true,
  retention: true,
  topics: true,
  authorize: true,
  topicTickets: true,
  references: true,
  policy: true,
  checkInterval: true,
  lease: true,
  confirmTimeout: true,
  presenceTtl: true,
  presenceGrace: true,
  cursorTtl: true,
  plainCounts: true,
  log: true,
  logLevel: true,
  tracing: true,
};
const SOCKJS: Names<PushSockJsOptions> = {
  prefix: true,
  websocket: true,
  hixie76: true,
  jsessionid: true,
  clientUrl: true,
  baseUrl: true,
  responseLimit: true,
  heartbeatDelay: true,
  disconnectDelay: true,
};
const POLICY: Names<PolicyOptions> = {
  allow: true,
  siteControl: true,
  port: true,
  host: true,
  timeout: true,
  maxConnections: true,
};
const GRANT: Names<PolicyGrant> = { domain: true, ports: true, secure: true };
const EXPIRY: Names<ExpiryOptions> = { leeway: true, plain: true };
const RETENTION: Names<RetentionOptions> = { inbox: true, topic: true };
const KEPT: Names<Retention> = { maxMessages: true, maxAge: true };
const TOPIC: Names<TopicOptions> = { retention: true, overflow: true, keep: true, presence: true };
const OVERFLOWS: readonly Overflow[] = ['close', 'conflate', 'drop-oldest'];
const REFERENCES: Names<ReferenceOptions> = { resolve: true, channel: true, timeout: true, cache: true };
const AUTHORIZE: Names<Authorize> = { connect: true, subscribe: true, presence: true, publish: true };
const HANDLER: Names<Handler<Session>> = {
  opened: true,
  message: true,
  fragment: true,
  transportError: true,
  closed: true,
};
const INTERCEPTOR: Names<Omit<PushInterceptor, 'ready'>> = { before: true, after: true, renew: true };

/** @throws {TypeError} naming the option that there is not, or that is of another kind */
export function checkOptions(options: PushServerOptions): void {
  checkNames('PushServer', options, OPTIONS, {
    limits: DEFAULT_LIMITS,
    heartbeat: DEFAULT_HEARTBEAT,
    sockjs: SOCKJS,
    expiry: EXPIRY,
    authorize: AUTHORIZE,
    handler: HANDLER,
    references: REFERENCES,
  });
  const { server, broker, log, path, sockjs, policy, references, retention } = options;
  // An Express application looks much like a server.
  if (server !== undefined && (typeof server !== 'object' || typeof server?.on !== 'function')) {
    throw new TypeError('server must be what createServer of node:http has given: createServer(app)');
  }
  if (options.tls !== undefined && (server !== undefined || options.port === undefined)) {
    throw new TypeError('tls is for a `port` of its own: a `server` has TLS, or has not');
  }
  if (broker !== undefined && typeof broker?.publish !== 'function') {
    throw new TypeError("broker must be one, such as redisBroker('redis://127.0.0.1:6379')");
  }
  if (path !== undefined && !(typeof path === 'string' && path.startsWith('/'))) {
    throw new TypeError(`path is ${String(path)}, and must begin with /`);
  }
  if (log !== undefined && typeof log !== 'function') {
    throw new TypeError('log must be a function (level, message)');
  }
  checkNames('sockjs', sockjs, SOCKJS);
  checkNames('policy', policy, POLICY);
  for (const grant of policy?.allow ?? []) checkNames('policy.allow', grant, GRANT);
  checkNames('expiry', options.expiry, EXPIRY);
  checkNames('references', references, REFERENCES);
  if (references !== undefined && typeof references.resolve !== 'function') {
    throw new TypeError('references.resolve must be a function (key) => ({ user, data })');
  }
  checkNames('retention', retention, RETENTION);
  checkKept('retention.inbox', retention?.inbox);
  checkKept('retention.topic', retention?.topic);
  checkNames('topics', options.topics, options.topics ?? {});
  for (const [topic, own] of Object.entries(options.topics ?? {})) checkTopic(topic, own);
  checkMethods('authorize', options.authorize, AUTHORIZE);
  checkMethods('handler', options.handler, HANDLER);
  checkInterceptors(options.interceptors);
  for (const each of options.interceptors ?? []) checkMethods('interceptors', each, INTERCEPTOR);
}

function checkTopic(topic: string, options: TopicOptions): void {
  const where = `topics[${JSON.stringify(topic)}]`;
  checkNames(where, options, TOPIC, { retention: KEPT });
  const { retention, overflow, keep, presence } = options;
  checkKept(`${where}.retention`, retention);
  if (overflow !== undefined && !OVERFLOWS.includes(overflow)) {
    throw new TypeError(
      `${where}.overflow is ${String(overflow)}, and must be 'close', 'conflate' or 'drop-oldest'`,
    );
  }
  if (keep !== undefined && !(Number.isSafeInteger(keep) && keep >= 1)) {
    throw new TypeError(`${where}.keep is ${String(keep)}, and must be a whole number from 1`);
  }
  if (presence !== undefined && typeof presence !== 'boolean') {
    throw new TypeError(`${where}.presence must be true or false`);
  }
}

function checkKept(where: string, retention: Partial<Retention> | undefined): void {
  checkNames(where, retention, KEPT);
  const { maxMessages, maxAge } = retention ?? {};
  checkedAge(`${where}.maxAge`, maxAge);
  if (maxMessages !== undefined && !(Number.isSafeInteger(maxMessages) && maxMessages >= 1)) {
    throw new TypeError(`${where}.maxMessages is ${String(maxMessages)}, and must be a whole number from 1`);
  }
}
