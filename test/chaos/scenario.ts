/** A scenario, and how one is judged. */
import type { Account } from '../../src/prove/ledger.ts';
import { type Plan, type Setting, Stage } from './stage.ts';
import type { StoreKind } from './store-target.ts';

export interface Scenario {
  /** Its number in the list of the issue; what goes beyond has none. */
  number?: number;
  name: string;
  /** What happens, in a line. */
  what: string;
  /**
   * `complete`: nothing is missing; `told`: something must get lost, and every page that misses it is told;
   * `either`: the store may lose something, and then every page that misses it is told.
   */
  expects: 'complete' | 'told' | 'either';
  /**
   * What something happens to: `pages`, `instances`, or a `store` that stands alone (default). So it can be played with every
   * store; with those that outlive an instance; or with Redis and PostgreSQL.
   */
  happensTo?: 'pages' | 'instances' | 'store';
  /** Those it can be played with, where it is not as `happensTo` says. */
  stores?: readonly StoreKind[];
  setting?: Setting | ((plan: Plan) => Setting);
  play(stage: Stage): Promise<void>;
}

const PLAYABLE: Record<NonNullable<Scenario['happensTo']>, readonly StoreKind[]> = {
  pages: ['redis', 'postgres', 'cluster', 'memory'],
  instances: ['redis', 'postgres', 'cluster'],
  store: ['redis', 'postgres'],
};

export function storesOf({ stores, happensTo = 'store' }: Scenario): readonly StoreKind[] {
  return stores ?? PLAYABLE[happensTo];
}

export interface Result extends Account {
  scenario: string;
  number: number | undefined;
  what: string;
  expects: Scenario['expects'];
  /** Messages stored, each for one or several pages. */
  messages: number;
  pages: number;
  /** Attempts of the publisher that failed and were repeated. */
  retries: number;
  /** Milliseconds, the longest. Undefined where nothing was out of order for a time. */
  recovery: number | undefined;
  notes: string[];
  /** Why it failed; empty if it passed. */
  failures: string[];
}

export async function run(scenario: Scenario, plan: Plan): Promise<Result> {
  const { setting } = scenario;
  let stage: Stage | undefined;
  try {
    stage = await Stage.set(plan, typeof setting === 'function' ? setting(plan) : setting);
    await scenario.play(stage);
    const sum = await stage.finish();
    return judged(scenario, stage, sum);
  } finally {
    await stage?.close();
  }
}

function judged(scenario: Scenario, stage: Stage, sum: Account): Result {
  const { publisher, pages, recoveries, notes } = stage;
  const failures = [...stage.failures];
  for (const kind of ['lost', 'duplicated', 'reordered'] as const) {
    if (sum[kind] > 0) failures.push(`${sum[kind]} ${kind}`);
  }
  if (scenario.expects === 'complete' && sum.gaps > 0)
    failures.push(`${sum.gaps} gaps told where nothing was to be missing`);
  if (scenario.expects === 'told' && sum.gaps === 0)
    failures.push('no page was told of a gap: the scenario proves nothing');
  return {
    scenario: scenario.name,
    number: scenario.number,
    what: scenario.what,
    expects: scenario.expects,
    messages: publisher.total,
    pages: pages.length,
    retries: publisher.failures,
    recovery: recoveries.length === 0 ? undefined : Math.max(...recoveries),
    ...sum,
    notes,
    failures,
  };
}
