/** The list of cases: all 517 of the Autobahn suite, numbered as there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { corpora } from '../../src/check/cases/corpora.ts';
import { groupTitles, subgroupTitles } from '../../src/check/cases/index.ts';
import { utf8Sequences } from '../../src/check/cases/utf8.ts';
import { allCases, cases, selectCases } from '../../src/check/index.ts';

/** How many cases the Autobahn suite 0.8 has in each sub-group. */
const counts: Record<string, number> = {
  ...{ '1.1': 8, '1.2': 8, '2': 11, '3': 7, '4.1': 5, '4.2': 5, '5': 20 },
  ...{ '6.1': 3, '6.2': 4, '6.3': 2, '6.4': 4, '6.5': 5, '6.6': 11, '6.7': 4, '6.8': 2, '6.9': 4, '6.10': 3 },
  ...{ '6.11': 5, '6.12': 8, '6.13': 5, '6.14': 10, '6.15': 1, '6.16': 3, '6.17': 5, '6.18': 5, '6.19': 5 },
  ...{ '6.20': 7, '6.21': 8, '6.22': 34, '6.23': 7 },
  ...{ '7.1': 6, '7.3': 6, '7.5': 1, '7.7': 13, '7.9': 9, '7.13': 2 },
  ...{ '9.1': 6, '9.2': 6, '9.3': 9, '9.4': 9, '9.5': 6, '9.6': 6, '9.7': 6, '9.8': 6, '10.1': 1 },
  ...{ '12.1': 18, '12.2': 18, '12.3': 18, '12.4': 18, '12.5': 18 },
  ...{ '13.1': 18, '13.2': 18, '13.3': 18, '13.4': 18, '13.5': 18, '13.6': 18, '13.7': 18 },
};

test('there are 517 cases with the numbers of the Autobahn suite, in its order', () => {
  const expected = Object.keys(counts).flatMap((group) =>
    Array.from({ length: counts[group]! }, (_, i) => `${group}.${i + 1}`),
  );
  // Keys like '2' come first in an object, so the order is set up by number.
  const inOrder = (ids: string[]): string[] =>
    ids.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  assert.equal(expected.length, 517);
  assert.deepEqual(
    cases.map(({ id }) => id),
    inOrder(expected),
  );
  assert.equal(cases.at(0)?.id, '1.1.1');
  assert.equal(cases.at(-1)?.id, '13.7.18');
});

test('each case has a number of its own, a title for its group, and says what it sends and expects', () => {
  assert.equal(new Set(allCases.map(({ id }) => id)).size, allCases.length);
  for (const { id, description, expectation } of allCases) {
    const [group = '', second] = id.split('.');
    assert.ok(groupTitles[group], id);
    if (id.split('.').length === 3) assert.ok(subgroupTitles[`${group}.${second}`], id);
    assert.match(description, /\.$/, id);
    assert.match(expectation, /\.$/, id);
  }
});

test('§8.1: the octets of group 6 are UTF-8 where the case says so', () => {
  assert.equal(utf8Sequences.length, 132);
  for (const [hex, isValid] of utf8Sequences) {
    let decodes = true;
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(hex, 'hex'));
    } catch {
      decodes = false;
    }
    assert.equal(decodes, isValid, hex);
  }
});

test('payloads of the compression cases have their size, are text where they say so, and go round', () => {
  for (const corpus of corpora) {
    const whole = corpus.slice(0, corpus.length);
    const round = corpus.slice(corpus.length - 10, 20);
    const ends = Buffer.concat([corpus.slice(corpus.length - 10, 10), corpus.slice(0, 10)]);
    assert.deepEqual(round, ends, corpus.title);
    if (corpus.isBinary) {
      assert.equal(whole.length, corpus.length, corpus.title);
    } else {
      const text = new TextDecoder('utf-8', { fatal: true }).decode(whole);
      assert.equal([...text].length, corpus.length, corpus.title);
      assert.ok(whole.length > corpus.length, `${corpus.title} has characters of several octets`);
      assert.equal([...corpus.slice(777, 50).toString()].length, 50);
    }
  }
});

test('patterns select cases, and one that fits none is an error', () => {
  const ids = (...patterns: string[]): string[] => selectCases(patterns).map(({ id }) => id);
  assert.deepEqual(ids('10.*'), ['10.1.1']);
  assert.deepEqual(ids('7.13.*', '2.1'), ['2.1', '7.13.1', '7.13.2']);
  assert.equal(ids('1.*').length, 16);
  assert.throws(() => selectCases(['8.*']), /8\.\*/);
});
