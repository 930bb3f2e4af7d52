/** Ids that people give to commands: none looks like an option. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageId } from '../../../src/pubsub/store/random-id.ts';

const FORM = /^[0-9A-Za-z_][0-9A-Za-z_-]{15}$/;

test('a message’s id is 16 characters of base64url, the first of which is no hyphen; none comes twice', () => {
  const ids = Array.from({ length: 20_000 }, messageId);
  assert.deepEqual(
    ids.filter((id) => !FORM.test(id)),
    [],
  );
  assert.equal(new Set(ids).size, ids.length);
});
