/** What a page saw is judged right: this is what the verdicts of `npm run chaos` and `tidings prove` stand on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { account, Ledger, type Sighting } from '../../src/prove/ledger.ts';

/** `3` is message 3, `3b` another message with that number, `trimmed@7` a gap told when 7 were promised, `!` one with an excuse. */
function seen(text: string): Sighting[] {
  return text
    .split(' ')
    .filter((word) => word !== '')
    .map((word) => {
      const [reason, promised] = word.split('@') as [string, string?];
      return promised === undefined
        ? { kind: 'message', n: Number.parseInt(word, 10), id: word }
        : { kind: 'gap', reason, promised: Number.parseInt(promised, 10), isExcused: promised.endsWith('!') };
    });
}

const cases: [what: string, sightings: string, promised: number, expected: object][] = [
  ['nothing promised, nothing seen', '', 0, {}],
  ['all seen', '1 2 3', 3, {}],
  ['one seen before its promise came', '1 2 3 4', 3, {}],
  ['one missing in between', '1 3', 3, { lost: 1 }],
  ['the last ones missing', '1', 3, { lost: 2 }],
  ['all missing', '', 3, { lost: 3 }],
  ['one twice', '1 2 2 3', 3, { duplicated: 1 }],
  ['one twice, later', '1 2 3 1', 3, { duplicated: 1 }],
  ['one late', '1 3 2', 3, { reordered: 1 }],
  ['told of what is missing', '1 trimmed@3 4', 4, { gaps: 1, told: 2 }],
  ['told, and nothing came after it', '1 2 rewound@4', 4, { gaps: 1, told: 2 }],
  ['told, then some, then a hole', '1 rewound@4 2 5', 5, { gaps: 1, told: 2 }],
  ['told once, and more is missing', '1 trimmed@2 3 5', 5, { gaps: 1, told: 1, lost: 1 }],
  ['told, but what is missing was sent later', '1 trimmed@1 3', 3, { gaps: 1, vain: 1, lost: 1 }],
  ['told of nothing', '1 rewound@1 2 3', 3, { gaps: 1, vain: 1 }],
  ['told of nothing, with an excuse', '1 rewound@1! 2 3', 3, { gaps: 1 }],
  ['told of nothing, at the end', '1 2 3 rewound@3', 3, { gaps: 1, vain: 1 }],
  ['told twice of the same', '1 trimmed@3 trimmed@3 4', 4, { gaps: 2, told: 2 }],
  ['told once more, of what it has', '1 trimmed@3 4 trimmed@4 5', 5, { gaps: 2, vain: 1, told: 2 }],
  ['told too late', '1 3 trimmed@3', 3, { gaps: 1, vain: 1, lost: 1 }],
  ['the same message again after a rewind', '1 2 rewound@2! 2 3', 3, { gaps: 1, duplicated: 1 }],
  ['sent again after the store has lost it', '1 2 rewound@2! 2b 3', 3, { gaps: 1, resent: 1 }],
  ['another message with its number, without a loss', '1 2 trimmed@2! 2b 3', 3, { gaps: 1, duplicated: 1 }],
];

for (const [what, sightings, promised, expected] of cases) {
  test(`account: ${what}`, () => {
    const nothing = { promised, lost: 0, duplicated: 0, reordered: 0, gaps: 0, vain: 0, told: 0, resent: 0 };
    assert.deepEqual(account(seen(sightings), promised), { ...nothing, ...expected });
  });
}

const some = { first: 4, open: new Set([6, 8]) };
const partial: [what: string, sightings: string, promised: number, expected: object][] = [
  ['what is before the first that counts is not looked at', '1 3 3 2 4 5 7', 7, { promised: 3 }],
  ['what nobody has promised need not come', '4 5 7 9', 9, { promised: 4 }],
  ['it may come in its place, and late', '4 5 6 7 9 8', 9, { promised: 4 }],
  ['but not twice', '4 5 6 7 6 9', 9, { promised: 4, duplicated: 1 }],
  ['what is around it is missed all the same', '4 6 9', 9, { promised: 4, lost: 2 }],
  ['it is nothing to be told of', '4 5 trimmed@6 7', 7, { promised: 3, gaps: 1, vain: 1 }],
];

for (const [what, sightings, promised, expected] of partial) {
  test(`account of a part: ${what}`, () => {
    const nothing = { lost: 0, duplicated: 0, reordered: 0, gaps: 0, vain: 0, told: 0, resent: 0 };
    assert.deepEqual(account(seen(sightings), promised, some), { ...nothing, ...expected });
  });
}

test('a ledger without a first message begins with what it sees, and knows at any time whether something is missing', () => {
  const ledger = new Ledger();
  const states: unknown[] = [];
  for (const sighting of seen('trimmed@2 3 5 5 4 2 6')) {
    ledger.see(sighting);
    states.push([ledger.first, ledger.last, ledger.isWhole]);
  }
  assert.deepEqual(states, [
    [undefined, 0, true],
    [3, 3, true],
    [3, 5, false],
    [3, 5, false],
    [3, 5, true],
    [3, 5, true],
    [3, 6, true],
  ]);
  const { promised, lost, reordered, duplicated, vain } = ledger.close(8);
  assert.deepEqual([promised, [...lost], reordered, duplicated], [6, [7, 8], [4], [5]]);
  assert.deepEqual(
    vain.map((gap) => gap.promised),
    [2],
  );
});

test('of a million messages it is known which have come, and of the last ones as which', () => {
  const ledger = new Ledger();
  for (let n = 1; n <= 1_000_000; n++) if (n !== 500_000) ledger.see({ kind: 'message', n, id: `${n}` });
  ledger.see({ kind: 'gap', reason: 'rewound', promised: 1_000_000, isExcused: true });
  for (const n of [1, 500_000, 999_999]) ledger.see({ kind: 'message', n, id: 'another' });
  const { lost, reordered, duplicated, resent } = ledger.close(1_000_000);
  assert.deepEqual([lost.size, reordered, duplicated, resent], [0, [500_000], [1], [999_999]]);
});
