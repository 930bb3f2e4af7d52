/** The 517 cases in the order of the Autobahn suite, those beyond it, and the titles of their groups. */
import type { CaseDefinition } from '../case.ts';
import { casesBeyondAutobahn } from './beyond.ts';
import { closingCases } from './closing.ts';
import { compressionCases, compressionTitles } from './compression.ts';
import { fragmentationCases } from './fragmentation.ts';
import { framingCases } from './framing.ts';
import { limitCases } from './limits.ts';
import { utf8Cases, utf8Groups } from './utf8.ts';

export const cases: CaseDefinition[] = [
  ...framingCases,
  ...fragmentationCases,
  ...utf8Cases,
  ...closingCases,
  ...limitCases,
  ...compressionCases,
];

/** The 517 and our own. */
export const allCases: CaseDefinition[] = [...cases, ...casesBeyondAutobahn];

/** Whether a case is one of the 517. */
export function isOfAutobahn({ id }: { id: string }): boolean {
  return !id.startsWith('T.');
}

export const groupTitles: Record<string, string> = {
  1: 'Framing',
  2: 'Pings and pongs',
  3: 'Reserved bits',
  4: 'Reserved opcodes',
  5: 'Fragmentation',
  6: 'UTF-8',
  7: 'Closing',
  9: 'Limits and performance',
  10: 'Auto-fragmentation',
  12: 'Compression, by payload',
  13: 'Compression, by parameters',
  T: 'Beyond the Autobahn suite',
};

export const subgroupTitles: Record<string, string> = {
  '1.1': 'Text messages',
  '1.2': 'Binary messages',
  '4.1': 'Opcodes of data frames',
  '4.2': 'Opcodes of control frames',
  '6.1': 'Empty fragments',
  '6.2': 'Valid text, cut anywhere',
  '6.3': 'Invalid text, cut anywhere',
  '6.4': 'Failing fast within a message',
  ...Object.fromEntries(utf8Groups.map(([title], i) => [`6.${i + 5}`, title])),
  '7.1': 'Frames around a Close frame',
  '7.3': 'Length of the Close payload',
  '7.5': 'Close reason',
  '7.7': 'Valid close codes',
  '7.9': 'Invalid close codes',
  '7.13': 'Undefined close codes',
  '9.1': 'Text messages by size',
  '9.2': 'Binary messages by size',
  '9.3': 'Text messages by fragment size',
  '9.4': 'Binary messages by fragment size',
  '9.5': 'Text messages by chop size',
  '9.6': 'Binary messages by chop size',
  '9.7': 'Text round trips',
  '9.8': 'Binary round trips',
  '10.1': 'Auto-fragmentation',
  ...Object.fromEntries(compressionTitles),
};

/**
 * The cases whose numbers fit one of the patterns (`7.*`, `9.1.6`), in order.
 *
 * @throws where a pattern fits none.
 */
export function selectCases(patterns: string[]): CaseDefinition[] {
  const chosen = new Set<string>();
  for (const pattern of patterns) {
    const source = pattern.trim().replaceAll('.', '\\.').replaceAll('*', '.*');
    const matcher = new RegExp(`^${source}$`);
    const fitting = allCases.filter(({ id }) => matcher.test(id));
    if (fitting.length === 0) throw new Error(`no case fits «${pattern}»`);
    for (const { id } of fitting) chosen.add(id);
  }
  return allCases.filter(({ id }) => chosen.has(id));
}
