/** Counts the verdicts and prints them. */
import type { Behavior } from './case.ts';
import { groupTitles } from './cases/index.ts';
import type { CaseResult } from './runner.ts';

export interface Summary {
  cases: number;
  /** Both verdicts are OK or informational. */
  passed: number;
  nonStrict: number;
  unimplemented: number;
  failed: number;
}

type Outcome = 'passed' | 'nonStrict' | 'unimplemented' | 'failed';

/**
 * What a verdict counts as. A code of one's own choice (§7.1.7, §7.4.1) and a TCP connection that is left to the
 * client to close (§7.1.1) go against what an endpoint SHOULD do, not against what it MUST.
 */
const outcomes: Record<Behavior, Outcome> = {
  OK: 'passed',
  INFORMATIONAL: 'passed',
  'NON-STRICT': 'nonStrict',
  'WRONG CODE': 'nonStrict',
  'FAILED BY CLIENT': 'nonStrict',
  UNIMPLEMENTED: 'unimplemented',
  UNCLEAN: 'failed',
  FAILED: 'failed',
};

/** The worse of the two verdicts. */
export function outcomeOf({ behavior, behaviorClose }: CaseResult): Outcome {
  const both = [outcomes[behavior], outcomes[behaviorClose]];
  if (both[0] === 'unimplemented') return 'unimplemented';
  return (['failed', 'nonStrict'] as const).find((outcome) => both.includes(outcome)) ?? 'passed';
}

export function summarize(results: CaseResult[]): Summary {
  const summary: Summary = { cases: results.length, passed: 0, nonStrict: 0, unimplemented: 0, failed: 0 };
  for (const result of results) summary[outcomeOf(result)]++;
  return summary;
}

/** `517 cases: 517 passed, 0 failed`, with the other verdicts between where there are any. */
export function summaryLine(summary: Summary): string {
  return [
    `${summary.cases} cases: ${summary.passed} passed`,
    ...(summary.nonStrict > 0 ? [`${summary.nonStrict} non-strict`] : []),
    ...(summary.unimplemented > 0 ? [`${summary.unimplemented} unimplemented`] : []),
    `${summary.failed} failed`,
  ].join(', ');
}

/** A row per group, and what didn't pass with the reason. */
export function table(results: CaseResult[]): string {
  const columns: (keyof Summary)[] = ['cases', 'passed', 'nonStrict', 'unimplemented', 'failed'];
  const heads = ['cases', 'passed', 'non-strict', 'unimpl.', 'failed'];
  const lines = [`${'group'.padEnd(32)}${heads.map((head) => head.padStart(11)).join('')}`];
  for (const [group, title] of Object.entries(groupTitles)) {
    const ofGroup = results.filter(({ id }) => id.startsWith(`${group}.`));
    if (ofGroup.length === 0) continue;
    const summary = summarize(ofGroup);
    lines.push(
      `${`${group.padStart(2)} ${title}`.padEnd(32)}${columns.map((column) => String(summary[column]).padStart(11)).join('')}`,
    );
  }
  for (const result of results) {
    const outcome = outcomeOf(result);
    if (outcome === 'passed' || outcome === 'unimplemented') continue;
    lines.push(
      `${result.id}: ${result.behavior}, closing ${result.behaviorClose}. ${result.description}`,
      `    ${result.result} ${result.resultClose}`,
      ...(result.waits.length > 0 ? [`    Waited ${result.waits.join(', and ')}.`] : []),
    );
  }
  return lines.join('\n');
}
