/** Endings and blocks while the field moves: slots, masters, scripts, clocks, leases that differ. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { MemoryStore, memoryBroker, redisBroker, UnconfirmedError } from '../../src/index.ts';
import { slotOf } from '../../src/pubsub/redis/slots.ts';
import { until } from '../support/net.ts';
import { needs, typescript } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { ask, type ClusterGroup, moveSlot, startCluster } from '../support/redis-groups.ts';
import { Page, type Running, startPush } from './support.ts';

const QUICK = {
  reconnectMinDelay: 20,
  reconnectMaxDelay: 100,
  commandTimeout: 1000,
  probeInterval: 500,
  probeTimeout: 500,
};
const SLOT = slotOf('{tidings:control\n}:state');

describe('on a Cluster', { timeout: 180_000, ...needs('redis') }, () => {
  let cluster: ClusterGroup;
  let pair: Running[];
  before(async () => {
    cluster = await startCluster();
    const start = () => startPush({ broker: redisBroker(cluster.target, QUICK), lease: 1500 });
    pair = [await start(), await start()];
  });
  after(async () => {
    await Promise.all(pair.map(({ push }) => push.close()));
    await cluster.stop();
  });

  /** Blocks one user after another who has a page at either instance, until `trouble` is over; each that resolves must hold. */
  async function blockAllTheTime(prefix: string, trouble: () => Promise<unknown>): Promise<void> {
    let isOver = false;
    const done = trouble().finally(() => {
      isOver = true;
    });
    const blocked: string[] = [];
    for (let i = 0; !isOver || i < 10; i++) {
      const user = `${prefix}${i}`;
      // While the lease is over, nobody is welcomed.
      const pages = pair.map(({ url }) => new Page(url, user, ['tidings.1']));
      await until('pages', () => pages.every(({ socket, refusal }) => socket.readyState === 1 || refusal));
      const [{ push }] = [pair[i % 2]!];
      try {
        await push.block(user, { reason: 'test' });
      } catch (error) {
        assert.ok(error instanceof UnconfirmedError, String(error));
        for (const page of pages) page.cut();
        continue;
      }
      blocked.push(user);
      // From here on nobody hands it anything, or lets it in.
      for (const { push: each } of pair) {
        assert.deepEqual(
          [...each.localSessions()].filter((session) => session.user === user),
          [],
        );
      }
      await Promise.all(pages.map((page) => page.ended()));
      const again = await Promise.all(pair.map(({ url }) => new Page(url, user).ended()));
      for (const code of again) assert.ok(code === 403 || code === 503, String(code));
    }
    await done;
    assert.ok(blocked.length > 0);
    for (const { push } of pair) {
      const users = await until('blocks', () => push.blocks().catch(() => undefined));
      const known = new Set(users.map(({ user }) => user));
      assert.deepEqual(
        blocked.filter((user) => !known.has(user)),
        [],
      );
    }
  }

  test('blocks hold while the slot of the control log moves, there and back', () =>
    blockAllTheTime('slot', async () => {
      for (let i = 0; i < 2; i++) {
        const from = await cluster.ownerOf(SLOT);
        const to = await cluster.ownerOf((SLOT + 8000) % 16_384);
        if (from.id === to.id) continue;
        await moveSlot(SLOT, from, to);
        await until('everybody to know', async () => (await cluster.ownerOf(SLOT)).id === to.id);
      }
    }));

  test('they hold while scripts are forgotten again and again', () =>
    blockAllTheTime('flush', async () => {
      for (let i = 0; i < 20; i++) {
        for (const server of cluster.servers) await ask(server, 'SCRIPT', 'FLUSH');
      }
    }));

  test('they hold when the master of the control log dies', () =>
    blockAllTheTime('master', async () => {
      const { server, id } = await cluster.ownerOf(SLOT);
      await cluster.kill(server);
      await until('another master', async () => (await cluster.ownerOf(SLOT)).id !== id);
    }));
});

/** An instance as a process, whose clock can be set: `clock 3600000` on its input moves it by an hour. */
function program(
  url: string,
  options: string,
  preload = '',
): { child: ReturnType<typeof spawn>; port: Promise<number> } {
  const source = `
    ${preload}
    const { PushServer, queryUser, redisBroker } = await import(${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)});
    const push = new PushServer({ port: 0, host: '127.0.0.1', broker: redisBroker(${JSON.stringify(url)}), interceptors: [queryUser('user')], ${options} });
    await push.ready;
    console.log('port ' + push.address().port);
    process.stdin.on('data', () => {});
  `;
  const child = spawn(process.execPath, [...typescript, '--input-type=module', '-e', source], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const port = new Promise<number>((resolve, reject) => {
    let text = '';
    child.stdout!.on('data', (chunk) => {
      text += String(chunk);
      const found = /port (\d+)/.exec(text);
      if (found !== null) resolve(Number(found[1]));
    });
    child.once('exit', () => reject(new Error('it has ended')));
  });
  return { child, port };
}

describe('with processes', { timeout: 120_000, ...needs('redis') }, () => {
  let redis: RedisServer;
  const children: ReturnType<typeof spawn>[] = [];
  before(async () => {
    redis = await startRedis();
  });
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    await redis.stop();
  });

  const run = async (options: string, preload?: string): Promise<string> => {
    const { child, port } = program(redis.url, `${options}`, preload);
    children.push(child);
    return `ws://127.0.0.1:${await port}/socketServer`;
  };

  test('where leases differ, a command waits for the longest that stands still', async () => {
    await ask(redis, 'FLUSHALL');
    const { push } = await startPush({ broker: redisBroker(redis.url), lease: 500, confirmTimeout: 20_000 });
    const url = await run('lease: 4000');
    const page = await Page.open(url, 'alice');
    const child = children.at(-1)!;
    child.kill('SIGSTOP');
    const from = performance.now();
    await push.disconnect('alice');
    const waited = performance.now() - from;
    child.kill('SIGCONT');
    // It was renewed within the last third of it.
    assert.ok(waited > 2000, `${waited}`);
    assert.equal(await page.ended(), 4501);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await push.close();
  });

  for (const [how, jump] of [
    ['forward', 7_200_000],
    ['back', -7_200_000],
  ] as const) {
    test(`an instance whose clock jumps two hours ${how} keeps out who is blocked for one, and lets in who is not`, async () => {
      await ask(redis, 'FLUSHALL');
      const { push } = await startPush({ broker: redisBroker(redis.url) });
      const url = await run(
        '',
        `const wall = Date.now; let ahead = 0; Date.now = () => wall() + ahead;
         process.stdin.on('data', () => { ahead = ${jump}; });`,
      );
      const child = children.at(-1)!;
      await push.block('alice', { until: Date.now() + 3_600_000 });
      await push.block('bob', { until: Date.now() + 1_500 });
      child.stdin!.write('jump\n');
      await until('bob to be let in', async () => {
        const page = new Page(url, 'bob');
        await until(
          'an end or an opening',
          () => page.refusal ?? (page.socket.readyState === 1 || page.closeCode),
        );
        const isIn = page.socket.readyState === 1;
        page.cut();
        return isIn;
      });
      assert.equal(await new Page(url, 'alice').ended(), 403);
      // A command is still confirmed.
      await push.disconnect('carol');
      child.kill('SIGKILL');
      await once(child, 'exit');
      await push.close();
    });
  }
});

test('over SockJS, what waits for a poll at the other instance is not handed over once its user is blocked', async () => {
  const store = new MemoryStore();
  const start = () =>
    startPush({ broker: memoryBroker(store), sockjs: { prefix: '/sockjs', disconnectDelay: 60_000 } });
  const [a, b] = [await start(), await start()];
  const base = ({ push }: Running): string =>
    `http://127.0.0.1:${(push.address() as { port: number }).port}/sockjs/0`;
  const poll = async (at: Running, id: string): Promise<string> =>
    (await fetch(`${base(at)}/${id}/xhr?user=alice`, { method: 'POST' })).text();
  for (const [i, [here, there]] of [
    [a, b],
    [b, a],
    [a, a],
  ].entries()) {
    const id = `session${i}`;
    assert.equal(await poll(here!, id), 'o\n');
    await a.push.send('alice', 'secret');
    await until('it waits', () =>
      [...here!.push.localSessions()].some(({ bufferedAmount }) => bufferedAmount > 0),
    );
    await b.push.block('alice');
    const last = await poll(there!, id);
    assert.doesNotMatch(last, /secret/);
    assert.match(last, /^c\[4501,/);
    await a.push.unblock('alice');
  }
  await Promise.all([a.push.close(), b.push.close()]);
});
