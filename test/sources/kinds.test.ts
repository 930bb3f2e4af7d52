/** What the URL of a source says, and what is said of one that makes no sense: never what may be a password. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { PushServer, SourceSetupError, source } from '../../src/index.ts';
import type { SourceKind } from '../../src/sources/kind.ts';
import { driverOf } from '../../src/sources/kinds.ts';
import { checkedOptions } from '../../src/sources/options.ts';
import { loadPackage } from '../../src/sources/packages.ts';
import { ScriptedDriver } from './scripted.ts';

/** What it was made with. */
let made: { url: string; settings: Readonly<Record<string, unknown>> } | undefined;
const kind: SourceKind = {
  schemes: ['test', 'tests'],
  settings: { queue: 'text', deadLetters: 'text', most: 'number', isDurable: 'flag' },
  make(url, settings) {
    made = { url, settings };
    return new ScriptedDriver();
  },
};
const read = (place: Parameters<typeof driverOf>[0]) => driverOf(place, [kind]);

test('settings of the kind and of all sources are taken out of the query; the rest is the library’s, as it was', () => {
  const { options } = read(
    'tests://u:p%40ss@h:1/v?queue=a%20b&sslmode=x%2Fy&dead-letters=d&most=7&is-durable=true&prefetch=9&prefetch-bytes=1000&name=n&heartbeat=5',
  );
  assert.equal(made?.url, 'tests://u:p%40ss@h:1/v?sslmode=x%2Fy&heartbeat=5');
  assert.deepEqual(made?.settings, { queue: 'a b', deadLetters: 'd', most: 7, isDurable: true });
  assert.deepEqual(options, { prefetch: 9, prefetchBytes: 1000, name: 'n' });
  read({ url: 'TEST://h', queue: 'q' });
  assert.deepEqual(made, { url: 'TEST://h', settings: { queue: 'q' } });
  // What is undefined is not given.
  read({ url: 'test://h?most=7', queue: undefined, most: undefined } as never);
  assert.deepEqual(made, { url: 'test://h', settings: { most: 7 } });
});

test('what makes no sense is refused, and no password is said', () => {
  for (const [place, message] of [
    ['http://u:hunter2@h/', /begins with test:, tests:$/],
    ['hunter2', /begins with/],
    [undefined, /begins with/],
    [{ url: 7 }, /begins with/],
    ['test://u:hunter2@h/?queue=a&queue=b', /queue twice/],
    ['test://u:hunter2@h/?most=hunter2', /most in the source's URL is a whole number/],
    ['test://u:hunter2@h/?is-durable=yes', /true or false/],
    ['test://u:hunter2@h/?quueue=a', /is queue meant/],
    ['test://u:hunter2@h/?prefetchs=1', /is prefetch meant/],
    [{ url: 'test://u:hunter2@h/', qeue: 'a' }, /is queue meant/],
    ['test://u:hunter2@h/?queue=', /queue of a source is a text/],
    [{ url: 'test://u:hunter2@h/', queue: 7 }, /queue of a source is a text/],
    [{ url: 'test://u:hunter2@h/', most: '7' }, /most of a source is a number/],
    [{ url: 'test://u:hunter2@h/', isDurable: 'true' }, /isDurable of a source is true or false/],
  ] as [Parameters<typeof driverOf>[0], RegExp][]) {
    assert.throws(
      () => read(place),
      (error: Error) => {
        assert.match(error.message, message);
        assert.ok(!inspect(error, { depth: 9 }).includes('hunter2'), error.message);
        return true;
      },
    );
  }
  for (const url of [
    'postgres://u:hun/ter2@h/d',
    'mysql://u:hun#ter2@h/d',
    'mariadb://u:hun%ter2@h/d',
    'mysql://u:hunter2@h',
    'mysql://u:1#hunter2@h/d',
    'postgres://u:1#hunter2@h/d',
    'nats://u:hun%ter2@h?stream=a',
    'nats://hun%ter2@h?stream=a',
    'amqp://u:hun%ter2@h?queue=a',
    'amqp://u:p@h/hun%ter2?queue=a',
  ]) {
    assert.throws(
      () => driverOf(url),
      (error: Error) => error instanceof TypeError && !/hun|ter2/.test(inspect(error, { depth: 9 })),
      url,
    );
  }
});

test('options that make no sense are refused, and nothing is begun', () => {
  for (const options of [
    { prefetch: 0 },
    { prefetch: 1.5 },
    { prefetchBytes: Number.NaN },
    { closeTimeout: -1 },
    { mapTimeout: 0 },
    { name: 'a b' },
    { name: '' },
    { map: 'x' },
    { prefech: 1 },
  ]) {
    assert.throws(() => checkedOptions(options as never), /prefetch|Timeout|name|map/);
  }
  assert.throws(() => source({} as PushServer, 'postgres://h/d'), /first argument must be a PushServer/);
});

test('a package that is missing is named, with what to do', async (t) => {
  const isIt = (): boolean => true;
  await assert.rejects(
    loadPackage('tidings-has-no-such-package', 'a table', isIt),
    (error: Error) =>
      error instanceof SourceSetupError && /npm install tidings-has-no-such-package/.test(error.message),
  );
  await assert.rejects(
    loadPackage('ws', 'a table', () => false),
    /is not one that tidings knows/,
  );
  const push = new PushServer({ log: () => {} });
  t.after(() => push.close());
  await push.ready;
  await push.close();
  assert.throws(() => source(push, 'postgres://h/d'), /closed/);
});
