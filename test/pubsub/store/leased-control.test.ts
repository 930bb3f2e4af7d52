/** What an instance keeps of a control log, over a store that says whatever a test wants. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_RECORDS } from '../../../src/pubsub/store/control.ts';
import type { ControlStore, Entry, KeptRecord, LeaseReply } from '../../../src/pubsub/store/control-store.ts';
import { Faults } from '../../../src/pubsub/store/faults.ts';
import { LeasedControl } from '../../../src/pubsub/store/leased-control.ts';
import { until } from '../../support/net.ts';

test('of records that are over, no more is kept the longer it runs', async () => {
  const time = Date.now();
  const forEver = Number.POSITIVE_INFINITY;
  const change = (key: string, end: number) => ({ key, value: 'why', ...(end < forEver && { until: end }) });
  /** A command for each record: every hundredth is for ever, the others are over. */
  const entries = Array.from({ length: 4 * MAX_RECORDS }, (_, i): Entry => {
    const end = i % 100 === 0 ? forEver : time - 1;
    const said = JSON.stringify({ kind: 'set', body: {}, change: change(`k${i}`, end) });
    return { number: i + 1, id: `id${i}`, time, said };
  });
  let restored: { key: string; kept: KeptRecord }[] | undefined;
  const failed = () => Promise.reject(new Error('nobody asks that'));
  const store: ControlStore = {
    subscribe: async () => {},
    async lease({ place: { number, id }, most }): Promise<LeaseReply> {
      if (number === entries.length) return { status: 'lost' };
      const place = { epoch: 'e', number, id };
      return {
        status: 'ok',
        place,
        time,
        entries: entries.slice(number, number + most),
        isAll: false,
        records: [],
      };
    },
    async restore(records) {
      restored = records;
      return failed();
    },
    command: failed,
    progress: failed,
    leave: async () => {},
    layout: async () => undefined,
    newer: { code: '', address: '' },
    away: (message) => new Error(message),
    failureOf: () => 'passing',
  };
  const faults = new Faults({ warn() {}, mended() {} });
  const control = new LeasedControl(store, { lapsed() {}, renewed() {} }, faults);
  control.open({ name: 'i', obey: () => 1, lapsed() {}, missed() {} });
  await control.renew();
  await until('all to be told', () => restored !== undefined);
  assert.ok(restored!.length < 3 * MAX_RECORDS, `${restored!.length} are kept`);
  const lasting = restored!.filter(({ kept }) => kept.record!.until === forEver);
  assert.equal(lasting.length, entries.length / 100);
  assert.equal(control.records().size, lasting.length);
  await control.close();
});
