/** All scenarios, in the order in which they run. */
import type { Scenario } from '../scenario.ts';
import { clientCut, halfOpen } from './connections.ts';
import { instanceKilled, instanceTerminated } from './instances.ts';
import { connectionsDropped, restartedEmpty, restartedWithLog } from './redis.ts';

export const scenarios: Scenario[] = [
  clientCut,
  halfOpen,
  instanceKilled,
  instanceTerminated,
  connectionsDropped,
  restartedEmpty,
  restartedWithLog,
];
