/** Names and slots: what other programs, and the Cluster, rely on. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { LUA_MODULE, luaModule } from '../../../scripts/lua.ts';
import { slotOf } from '../../../src/pubsub/redis/slots.ts';
import {
  ACK_MAGIC,
  decodeDoorbell,
  MARKS_MAGIC,
  MESSAGE_MAGIC,
} from '../../../src/pubsub/store/redis-doorbells.ts';
import { ChannelKeys, originKey, sessionsKey } from '../../../src/pubsub/store/redis-layout.ts';

test('slots are those of the Cluster specification', () => {
  // The specification's check value of CRC-16/XMODEM, and what CLUSTER KEYSLOT of Redis 7.0.15 answers.
  assert.equal(slotOf('123456789'), 0x31c3 % 16_384);
  assert.equal(slotOf('foo'), 12_182);
  assert.equal(slotOf('{user1000}.following'), slotOf('user1000'));
  assert.equal(slotOf('foo{}{bar}'), 8_363);
  assert.equal(slotOf('foo{{bar}}zap'), slotOf('{bar'));
  assert.equal(slotOf('foo{bar}{zap}'), slotOf('bar'));
  assert.equal(slotOf(''), 0);
});

test('the origin of a slot is in that slot, and under the prefix', () => {
  for (const slot of [0, 1, 8000, 16_383]) {
    const key = originKey('tidings', slot);
    assert.equal(slotOf(key), slot);
    assert.match(key, /^\{tidings:/);
  }
  assert.equal(originKey('tidings', undefined), '{tidings:origin}');
});

test('everything of a channel is in the slot of its channel on the bus, whatever its name', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (channel, key) => {
      const keys = new ChannelKeys('tidings', channel);
      const slot = slotOf(keys.bus);
      for (const name of [...channelKeys(keys), keys.receipt(key)]) assert.equal(slotOf(name), slot);
    }),
  );
});

const channelKeys = (keys: ChannelKeys): string[] => [
  keys.top,
  keys.list,
  keys.devices,
  keys.mark,
  keys.marks,
  keys.replaceable,
  keys.expiries,
];

test('different channels have different names on the bus, and plain ones their own', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      const same = new ChannelKeys('p', a).bus === new ChannelKeys('p', b).bus;
      assert.equal(same, a === b);
    }),
  );
  assert.equal(new ChannelKeys('tidings', 'user:alice').bus, 'tidings:user:alice');
  assert.equal(sessionsKey('tidings', 'user:alice'), '{tidings:user:alice}:sessions');
});

test('what is no entry is not taken for one', () => {
  const read = (line: string) => {
    const entry = `${line}payload`;
    const bell = Buffer.from(`${MESSAGE_MAGIC}E\n${entry.length} ${entry}`);
    return decodeDoorbell('c', bell, 0, bell.length);
  };
  assert.notEqual(read('7 17 I t\n'), null);
  assert.notEqual(read('7 17 I t 1000\n'), null);
  assert.notEqual(read('7 17 I t 1000 trace=00-1f-01\n'), null);
  assert.notEqual(read('7 17 I t trace=00-1f-01 other=\n'), null);
  for (const line of [
    '',
    '\n',
    '7 17 I t',
    '7 17 I\n',
    '7 17 I \n',
    '7 17 I tt\n',
    '7 17 I z\n',
    '7 17 I t x\n',
    '7 17 I t =1\n',
    '7 17 I t a=1 1000\n',
    '7 17 I t a=1',
    '7 17 I t  a=1\n',
    '7 17 I t \n',
    '7 17 I t 0\n',
    '7 17 I t -5\n',
    '7 17 I t 5x\n',
    '7 17 I t 5',
    `7 17 I t ${'5'.repeat(80)}\n`,
    '7 17  t\n',
    '7 17 I\nx t\n',
    '7  I t\n',
    ' 17 I t\n',
    '0 17 I t\n',
    '-7 17 I t\n',
    '7.5 17 I t\n',
    '7e3 17 I t\n',
    '99999999999999999999 17 I t\n',
    '7 1x7 I t\n',
    `7 17 ${'I'.repeat(80)} t\n`,
  ]) {
    assert.equal(read(line), null, JSON.stringify(line));
  }
});

test('a doorbell is read wherever it lies in a buffer, and no bytes make the reader throw', () => {
  const entry = Buffer.concat([Buffer.from('7 1700000000000 I b\n'), Buffer.from([10, 0, 255])]);
  const next = Buffer.from('8 1700000000001 J t\n');
  const parts = [`xx${MESSAGE_MAGIC}E\n${entry.length} `, entry, `${next.length} `, next];
  const bell = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
  assert.deepEqual(decodeDoorbell('c', bell, 2, bell.length), [
    {
      channel: 'c',
      epoch: 'E',
      offset: 7,
      id: 'I',
      time: 1_700_000_000_000,
      kind: 'binary',
      payload: Buffer.from([10, 0, 255]),
    },
    {
      channel: 'c',
      epoch: 'E',
      offset: 8,
      id: 'J',
      time: 1_700_000_000_001,
      kind: 'text',
      payload: Buffer.alloc(0),
    },
  ]);
  const ack = Buffer.from(`${ACK_MAGIC}E 7 I\nmy phone`);
  assert.deepEqual(decodeDoorbell('c', ack, 0, ack.length), {
    channel: 'c',
    device: 'my phone',
    position: { epoch: 'E', offset: 7, id: 'I' },
  });
  fc.assert(
    fc.property(fc.uint8Array(), fc.boolean(), (bytes, hasMagic) => {
      const payload = Buffer.concat([Buffer.from(hasMagic ? MESSAGE_MAGIC : ''), bytes]);
      const result = decodeDoorbell('c', payload, 0, payload.length);
      if (hasMagic && !bytes.includes(10)) assert.equal(result, null);
      if (!hasMagic && bytes[0] !== 0) assert.equal(result, undefined);
    }),
  );
  const numbers = fc.uint8Array({ minLength: 83 + 6 + 105, maxLength: 83 + 6 + 105 + 40 });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), numbers), (bytes) => {
      const payload = Buffer.concat([Buffer.from(`${MARKS_MAGIC}\n`), bytes]);
      const result = decodeDoorbell('c', payload, 0, payload.length);
      // Nobody makes up counts of ranges by chance that fit the length.
      if (bytes.length !== 83 + 6 + 105) assert.equal(result, null);
    }),
  );
});

test('the scripts in lua.ts are those of lua/*.lua (npm run lua)', () => {
  assert.equal(readFileSync(LUA_MODULE, 'utf8'), luaModule());
});
