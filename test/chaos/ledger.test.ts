/** What a page saw is judged right: this is what the chaos runner's verdicts stand on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { account, type Sighting } from './ledger.ts';

/** `3` is message 3, `3b` another message with that number, `trimmed@7` a gap told when 7 were promised. */
function seen(text: string): Sighting[] {
  return text
    .split(' ')
    .filter((word) => word !== '')
    .map((word) => {
      const [reason, promised] = word.split('@') as [string, string?];
      return promised === undefined
        ? { kind: 'message', n: Number.parseInt(word, 10), id: word }
        : { kind: 'gap', reason, promised: Number(promised) };
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
  ['told, but what is missing was sent later', '1 trimmed@1 3', 3, { gaps: 1, lost: 1 }],
  ['told of nothing', '1 rewound@1 2 3', 3, { gaps: 1 }],
  ['told too late', '1 3 trimmed@3', 3, { gaps: 1, lost: 1 }],
  ['the same message again after a rewind', '1 2 rewound@2 2 3', 3, { gaps: 1, duplicated: 1 }],
  ['sent again after the store has lost it', '1 2 rewound@2 2b 3', 3, { gaps: 1, resent: 1 }],
  ['another message with its number, without a loss', '1 2 trimmed@2 2b 3', 3, { gaps: 1, duplicated: 1 }],
];

for (const [what, sightings, promised, expected] of cases) {
  test(`account: ${what}`, () => {
    const nothing = { promised, lost: 0, duplicated: 0, reordered: 0, gaps: 0, told: 0, resent: 0 };
    assert.deepEqual(account(seen(sightings), promised), { ...nothing, ...expected });
  });
}
