import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { faultyBroker } from '../faulty-broker.ts';
import { Page, startPush } from '../support.ts';

test('confirm acked: an acknowledgement that comes before the store’s own answer counts', async () => {
  const inner = memoryBroker();
  const broker = faultyBroker(inner);
  let page: Page | undefined;
  // The doorbell first, then the page's acknowledgement, then the receipt.
  broker.publish = async (...all) => {
    const receipt = await inner.publish(...all);
    const { epoch, offset, id } = await page!.frame('message', receipt.offset - 1);
    page!.say({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } });
    await page!.frame('acked', receipt.offset - 1);
    return receipt;
  };
  const { push, url } = await startPush({ broker });
  page = await Page.open(url, 'alice', { device: 'phone' });
  for (let n = 1; n <= 3; n++) {
    const receipt = await push.send('alice', n, { confirm: 'acked', timeout: 20_000 });
    assert.deepEqual([receipt.offset, receipt.device], [n, 'phone']);
  }
  await push.close();
});

test('confirm acked: an early acknowledgement of what came before does not count', async () => {
  const inner = memoryBroker();
  const broker = faultyBroker(inner);
  let page: Page | undefined;
  const { push, url } = await startPush({ broker });
  page = await Page.open(url, 'alice', { device: 'phone' });
  await push.send('alice', 'first');
  const { epoch, offset, id } = await page.frame('message');
  broker.publish = async (...all) => {
    page!.say({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } });
    await page!.frame('acked');
    return inner.publish(...all);
  };
  await assert.rejects(push.send('alice', 'second', { confirm: 'acked', timeout: 300 }), {
    code: 'CONFIRM_TIMEOUT',
  });
  await push.close();
});
