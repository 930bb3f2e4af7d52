/** Runs the rows: every peer in its own process, one after the other, round by round. */
import type { Row } from './rows.ts';
import { measureCodec } from './scenarios/codec.ts';
import { fanOut, whyNoFanOut } from './scenarios/fan-out.ts';
import { pushLoad, whyNoPush } from './scenarios/push.ts';
import { driveRedis, whyNoRedis } from './scenarios/resp.ts';
import type { MeasureOptions, Sample, Scenario } from './scenarios/scenario.ts';
import { serveLoad, whyNotServed } from './scenarios/server-load.ts';
import { median, spread } from './statistics.ts';

export interface PeerResult {
  name: string;
  /** One for each round, unless it failed. */
  samples: Sample[];
  median: Sample;
  /** ± of the cost, as a part of it. */
  spread: number;
  /** Cost of the reference, the mean of its two runs, ÷ own cost, in the same round: their median and spread. */
  ratio: number;
  ratioSpread: number;
  failure?: string;
}

export interface RowResult {
  row: Row;
  peers: PeerResult[];
  /** The reference against itself (A/A): how far from 1 its ratios were, at the median and at the worst. */
  noise: { median: number; worst: number };
  /** Peers that were not run, and why. */
  notRun: { name: string; why: string }[];
}

/** The second run of the reference. */
export const AGAIN = ' again';

const served: Scenario = { run: serveLoad, whyNot: whyNotServed };
const redis: Scenario = { run: driveRedis, whyNot: whyNoRedis };
const push: Scenario = { run: pushLoad, whyNot: whyNoPush };
const scenarios: Record<Row['scenario'], Scenario> = {
  echo: served,
  broadcast: served,
  handshakes: served,
  idle: served,
  fanout: { run: fanOut, whyNot: whyNoFanOut },
  'resp-publish': redis,
  'resp-receive': redis,
  'push-user': push,
  'push-topic': push,
  'push-rest': push,
  'push-return': push,
  'push-visit': push,
  codec: { run: measureCodec },
};

export async function measureRow(row: Row, options: MeasureOptions): Promise<RowResult> {
  const scenario = scenarios[row.scenario];
  const notRun: RowResult['notRun'] = [];
  const names: string[] = [];
  for (const name of row.peers) {
    const why = scenario.whyNot?.(name, row);
    if (why) notRun.push({ name, why });
    else names.push(name);
  }
  if (names.includes(row.reference)) names.splice(names.indexOf(row.reference) + 1, 0, row.reference + AGAIN);

  const runs = new Map<string, Sample[]>(names.map((name) => [name, []]));
  const failures = new Map<string, string>();
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      // Each round begins with another peer, so that nobody always runs behind the same neighbour.
      const name = names[(i + round) % names.length]!;
      if (failures.has(name)) continue;
      const run = `${row.id} ${round + 1}/${options.rounds} ${name}`;
      try {
        const sample = await scenario.run(name.replace(AGAIN, ''), row, options);
        runs.get(name)!.push(sample);
        options.progress?.(`${run}: ${sample.cost.toPrecision(3)} ${row.unit}`);
      } catch (error) {
        // Behind the first line stands where in the generator it was seen: of no use in a report.
        failures.set(name, (error as Error).message.split('\n')[0]!.trim());
        options.progress?.(`${run} failed: ${(error as Error).message}`);
      }
    }
  }

  const first = runs.get(row.reference) ?? [];
  const second = runs.get(row.reference + AGAIN) ?? [];
  const again = ratios(second, costs(first));
  const reference = first.map(({ cost }, round) => (cost + (second[round]?.cost ?? cost)) / 2);
  return {
    row,
    peers: names.map((name) => summarize(name, runs.get(name)!, reference, failures.get(name))),
    noise: {
      median: Math.abs(median(again) - 1),
      worst: Math.max(...again.map((ratio) => Math.abs(ratio - 1))),
    },
    notRun,
  };
}

/** Of each round, how many times its own cost the other's is. */
export function ratiosTo(other: PeerResult, own: PeerResult): number[] {
  return ratios(own.samples, costs(other.samples));
}

function costs(samples: Sample[]): number[] {
  return samples.map(({ cost }) => cost);
}

function ratios(samples: Sample[], reference: number[]): number[] {
  return samples.flatMap(({ cost }, round) => {
    const other = reference[round];
    return other === undefined ? [] : [other / cost];
  });
}

function summarize(
  name: string,
  samples: Sample[],
  reference: number[],
  failure: string | undefined,
): PeerResult {
  const compared = ratios(samples, reference);
  const keys = Object.keys(samples[0] ?? { cost: 0 }) as (keyof Sample)[];
  const middle = keys.map((key) => [key, median(samples.map((sample) => sample[key] ?? Number.NaN))]);
  return {
    name,
    samples,
    median: Object.fromEntries(middle) as Sample,
    spread: spread(costs(samples)),
    ratio: median(compared),
    ratioSpread: spread(compared),
    failure,
  };
}
