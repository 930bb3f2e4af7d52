/** All scenarios, in the order in which they run. */
import type { Scenario } from '../scenario.ts';
import type { StoreKind } from '../store-target.ts';
import { callbacks } from './callbacks.ts';
import { clientCut, halfOpen, offlineTooLong, slowReader, twoDevices } from './connections.ts';
import {
  endingCut,
  endingDrain,
  endingFailover,
  endingFrozen,
  endingPromotion,
  endingSockJs,
} from './endings.ts';
import { fallbackCut, fallbackInstanceKilled } from './fallback.ts';
import { clusterMasterKilled, lossyPromotion, sentinelFailover, slotMigrated } from './groups.ts';
import { impolite } from './impolite.ts';
import { inbox, inboxRewound } from './inbox.ts';
import { herd, instanceKilled, instanceTerminated, rollingRestart } from './instances.ts';
import { later } from './later.ts';
import { slowLink, strictMode } from './pages.ts';
import { lossilyPromoted, promoted, slowStandby, switchedOver } from './postgres.ts';
import { randomFaults } from './random.ts';
import {
  connectionsDropped,
  flapping,
  restartedEmpty,
  restartedWithLog,
  rewound,
  standingStill,
  subscriberDead,
} from './redis.ts';
import { sources } from './sources.ts';
import { stalledReader } from './stalled.ts';
import { firstConnectFails, noReplicas, readOnly, rewoundUnderForeignHands } from './store.ts';
import { transactions } from './transactions.ts';

/** A scenario as it is called with a store: what is said of Redis happens to that. */
export function named(scenario: Scenario, store: StoreKind): Scenario {
  if (store !== 'postgres') return scenario;
  const { name, what } = scenario;
  return {
    ...scenario,
    name: name.replace(/^redis-(restart-aof)?/, (_, how) => `postgres-${how === undefined ? '' : 'restart'}`),
    what: what.replace(/\bRedis\b/g, 'PostgreSQL'),
  };
}

export const scenarios: Scenario[] = [
  clientCut,
  halfOpen,
  instanceKilled,
  instanceTerminated,
  rollingRestart,
  connectionsDropped,
  restartedEmpty,
  restartedWithLog,
  rewound,
  sentinelFailover,
  clusterMasterKilled,
  slotMigrated,
  lossyPromotion,
  subscriberDead,
  slowReader,
  offlineTooLong,
  twoDevices,
  flapping,
  randomFaults,
  herd,
  fallbackCut,
  fallbackInstanceKilled,
  stalledReader,
  standingStill,
  firstConnectFails,
  rewoundUnderForeignHands,
  readOnly,
  noReplicas,
  promoted,
  lossilyPromoted,
  switchedOver,
  slowStandby,
  slowLink,
  strictMode,
  impolite,
  callbacks,
  endingFrozen,
  endingCut,
  endingSockJs,
  endingDrain,
  endingFailover,
  endingPromotion,
  later,
  inbox,
  inboxRewound,
  transactions,
  ...sources,
];
