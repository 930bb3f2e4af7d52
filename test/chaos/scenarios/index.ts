/** All scenarios, in the order in which they run. */
import type { Scenario } from '../scenario.ts';
import { callbacks } from './callbacks.ts';
import { clientCut, halfOpen, offlineTooLong, slowReader, twoDevices } from './connections.ts';
import { endingCut, endingDrain, endingFailover, endingFrozen, endingSockJs } from './endings.ts';
import { fallbackCut, fallbackInstanceKilled } from './fallback.ts';
import { clusterMasterKilled, lossyPromotion, sentinelFailover, slotMigrated } from './groups.ts';
import { impolite } from './impolite.ts';
import { inbox, inboxRewound } from './inbox.ts';
import { herd, instanceKilled, instanceTerminated, rollingRestart } from './instances.ts';
import { later } from './later.ts';
import { slowLink, strictMode } from './pages.ts';
import { randomFaults } from './random.ts';
import {
  connectionsDropped,
  flapping,
  restartedEmpty,
  restartedWithLog,
  rewound,
  subscriberDead,
} from './redis.ts';
import { stalledReader } from './stalled.ts';
import { firstConnectFails, noReplicas, readOnly, rewoundUnderForeignHands } from './store.ts';

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
  firstConnectFails,
  rewoundUnderForeignHands,
  readOnly,
  noReplicas,
  slowLink,
  strictMode,
  impolite,
  callbacks,
  endingFrozen,
  endingCut,
  endingSockJs,
  endingDrain,
  endingFailover,
  later,
  inbox,
  inboxRewound,
];
