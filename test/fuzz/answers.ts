/** What an application answers who a page is, head and body. */
import assert from 'node:assert/strict';
import type { Random } from '../../src/prove/random.ts';
import { answerOfBody, answerOfHead } from '../../src/push/door/answer.ts';
import { loginProblem, topicProblem, userProblem } from '../../src/push/talk/names.ts';
import { corpus, type Target } from './target.ts';

const NAMES = [
  'user',
  'login',
  'expires',
  'topics',
  'attributes',
  '__proto__',
  'constructor',
  'toString',
  '',
];
const SIMPLE = [
  null,
  true,
  0,
  -1,
  1e300,
  2 ** 53,
  '',
  'alice',
  'user:bob',
  'inbox',
  '\u0000',
  '\ud800',
  'x'.repeat(200),
];

function value(random: Random, depth: number): unknown {
  const kind = random.below(depth > 3 ? 4 : 8);
  if (kind < 5) return random.pick(SIMPLE);
  if (kind === 5) return Array.from({ length: random.below(4) }, () => value(random, depth + 1));
  return object(random, depth + 1);
}

function object(random: Random, depth: number): object {
  const pairs = Array.from({ length: random.below(6) }, () => [random.pick(NAMES), value(random, depth)]);
  return Object.fromEntries(pairs);
}

export const answers: Target = {
  name: 'answers',
  corpus: corpus('answers'),
  generate: (random) => Buffer.from(JSON.stringify(object(random, 0))),
  run(input, random) {
    const head = answerOfHead(random.below(1000), {
      'content-type': random.chance(2) ? 'application/json' : input.toString('latin1'),
    });
    assert.ok(head === undefined || !('known' in head), 'a head alone lets nobody in');
    const answer = answerOfBody(input);
    assert.ok(!('refused' in answer), 'a body alone refuses nobody');
    if ('problem' in answer) {
      assert.ok(!answer.problem.isAway);
      return;
    }
    const { user, login, expires, topics, attributes } = answer.known;
    assert.equal(userProblem(user), undefined);
    if (login !== undefined) assert.equal(loginProblem(login), undefined);
    if (expires !== undefined) assert.ok(Number.isFinite(expires));
    for (const topic of topics ?? []) assert.equal(topicProblem(topic), undefined);
    const target: Record<string, unknown> = Object.assign({}, attributes);
    assert.equal(Object.getPrototypeOf(target), Object.prototype);
    for (const name of ['user', 'login', 'expires', 'topics']) assert.ok(!Object.hasOwn(target, name), name);
  },
};
