/** The options of a push server once they were looked at: what makes no sense is refused, what is left out has its default. */
import { randomBytes } from 'node:crypto';
import { memoryBroker } from '../pubsub/store/memory-broker.ts';
import { OriginPolicy } from '../server/origin.ts';
import { CountedBroker } from './delivery/counted-broker.ts';
import { TopicTable } from './delivery/topic-options.ts';
import { checkRefusals } from './door/refusals.ts';
import { type Proxies, trustedProxies } from './door/request.ts';
import type { Rules } from './door/rules.ts';
import { secretsOf } from './door/ticket.ts';
import { checkOptions } from './known-options.ts';
import { checkedAge, checkedHeartbeat, checkedLimits, checkedTime } from './limits.ts';
import { checkedLevel, Logbook } from './log.ts';
import {
  DEFAULT_CURSOR_TTL,
  type Heartbeat,
  type Limits,
  type Log,
  type PushServerOptions,
} from './options.ts';
import { checkedExpiry, type ExpiryOptions } from './pages/logins.ts';
import { Retentions } from './sending/retentions.ts';
import { instanceProblem, topicProblem } from './talk/names.ts';

const DEFAULT_CHECK_INTERVAL = 15_000;
const DEFAULT_PRESENCE_TTL = 30_000;
const DEFAULT_PRESENCE_GRACE = 5_000;
/** A lease is renewed twice before it is over, with a round trip to the store each time. */
const MIN_LEASE = 500;

/** What a running server takes anew: these objects stay, what they hold is replaced, and nobody keeps a copy of it. */
export interface Changeable {
  readonly rules: Rules;
  readonly limits: Limits;
  readonly heartbeat: Heartbeat;
  readonly topics: TopicTable;
  readonly retentions: Retentions;
  readonly proxies: Proxies;
  readonly expiry: Required<ExpiryOptions>;
}

export interface Settings extends Changeable {
  readonly instance: string;
  readonly broker: CountedBroker;
  /** Times are in milliseconds. */
  readonly checkInterval: number;
  readonly presenceTtl: number;
  readonly presenceGrace: number;
  readonly cursorTtl: number;
  /** Undefined: the control log's own. */
  readonly lease: number | undefined;
  readonly confirmTimeout: number | undefined;
  readonly log: Log;
  readonly logbook: Logbook;
}

/** @throws {TypeError} for options that make no sense */
export function settingsOf(options: PushServerOptions): Settings {
  const changeable = changeableOf(options);
  const instance = options.instance ?? `i${randomBytes(6).toString('base64url')}`;
  const problem = instanceProblem(instance);
  if (problem !== undefined) throw new TypeError(problem);
  const odd = options.references?.channel && topicProblem(options.references.channel);
  if (odd) throw new TypeError(`references.channel: ${odd}`);
  const level = options.logLevel === undefined ? undefined : checkedLevel(options.logLevel);
  const logbook = new Logbook(instance, options.log, level);
  return {
    ...changeable,
    instance,
    broker: new CountedBroker(options.broker ?? memoryBroker()),
    checkInterval: checkedTime('checkInterval', options.checkInterval, 1) ?? DEFAULT_CHECK_INTERVAL,
    presenceTtl: checkedTime('presenceTtl', options.presenceTtl, 1) ?? DEFAULT_PRESENCE_TTL,
    presenceGrace: checkedTime('presenceGrace', options.presenceGrace, 0) ?? DEFAULT_PRESENCE_GRACE,
    cursorTtl: checkedAge('cursorTtl', options.cursorTtl) ?? DEFAULT_CURSOR_TTL,
    lease: checkedTime('lease', options.lease, MIN_LEASE),
    confirmTimeout: checkedTime('confirmTimeout', options.confirmTimeout, 1),
    log: logbook.log,
    logbook,
  };
}

/** @throws {TypeError} for options that make no sense */
export function changeableOf(options: PushServerOptions): Changeable {
  checkOptions(options);
  const topics = new TopicTable(options.topics);
  if (options.topicTickets !== undefined) secretsOf(options.topicTickets);
  checkRefusals(options.refusals);
  return {
    rules: {
      interceptors: [...(options.interceptors ?? [])],
      authorize: options.authorize ?? {},
      topicTickets: options.topicTickets,
      origins: new OriginPolicy(options.origins),
      refusals: options.refusals ?? 'auto',
      plainCounts: options.plainCounts === true,
    },
    limits: checkedLimits(options.limits),
    heartbeat: checkedHeartbeat(options.heartbeat),
    topics,
    retentions: new Retentions(topics, options.retention),
    proxies: trustedProxies(options.proxies ?? []),
    expiry: checkedExpiry(options.expiry),
  };
}

/** From here on `settings` is what `next` is. Can't fail. */
export function change(settings: Changeable, next: Changeable): void {
  Object.assign(settings.rules, next.rules);
  Object.assign(settings.limits, next.limits);
  Object.assign(settings.heartbeat, next.heartbeat);
  Object.assign(settings.proxies, next.proxies);
  Object.assign(settings.expiry, next.expiry);
  settings.topics.become(next.topics);
  settings.retentions.become(next.retentions);
}
