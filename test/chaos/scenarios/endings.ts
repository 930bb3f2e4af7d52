/** Sessions that are ended and users that are kept out while something is wrong: nothing comes to them after the promise. */
import { get } from 'node:http';
import { sockJsTransport } from '../../../src/client/sockjs-transport.ts';
import { TcpProxy } from '../../../src/prove/proxy.ts';
import { until } from '../../support/net.ts';
import type { Instance } from '../instances.ts';
import type { Scenario } from '../scenario.ts';
import type { Setting, Stage } from '../stage.ts';
import { clientPage, Grace, judge, rawPage, sayTo, Victim, type VictimPage } from '../victims.ts';
import { promote, standbyOf } from './postgres.ts';

/** Milliseconds. In the long form as it is by itself. */
const lease = (isShort: boolean): number => (isShort ? 1000 : 5000);

const setting =
  (more: Setting = {}): NonNullable<Scenario['setting']> =>
  ({ isShort }) => ({
    users: 1,
    pages: 1,
    interval: 20,
    ...more,
    options: {
      lease: lease(isShort),
      confirmTimeout: 30_000,
      retention: { inbox: { maxMessages: 100_000 }, topic: { maxMessages: 100_000 } },
      ...more.options,
    },
    // Whoever is not answered for so long is on an instance that stands still; that is not what is asked here.
    client: { heartbeat: { interval: 60_000, timeout: 60_000 }, ...more.client },
  });

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** As often as the seed says so, the same. */
function chances(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

let count = 0;
/** One to disconnect and one to block, with messages under way. */
function pairOf(sender: Instance): [Victim, Victim] {
  const name = `v${process.pid}-${++count}`;
  const pair: [Victim, Victim] = [new Victim(`${name}d`, 'disconnect'), new Victim(`${name}b`, 'block')];
  for (const victim of pair) victim.send(sender);
  return pair;
}

/** Pages of each kind on an instance; those who are blocked also have one that comes back wherever it can. */
function openOn(victims: Victim[], { port }: Instance, front?: TcpProxy): void {
  for (const { user, verb, pages } of victims) {
    pages.push(rawPage(port, user, ['tidings.1']), rawPage(port, user, []));
    if (verb !== 'block') continue;
    pages.push(clientPage(`ws://127.0.0.1:${front?.port ?? port}/socketServer`, user));
  }
}

/** @throws {Error} naming the pages that have not, and how their connections ended */
async function haveSome(victims: Victim[], least = 3): Promise<void> {
  const lacking = (): string[] =>
    victims.flatMap(({ user, pages }) =>
      pages.flatMap(({ seen, ends }, i) =>
        seen.length < least ? [`page ${i} of ${user} (${seen.length} seen, ended with ${ends})`] : [],
      ),
    );
  await until('pages to have seen something', () => lacking().length === 0, 40_000).catch((error) => {
    throw new Error(`${(error as Error).message}: ${lacking().join('; ')}`);
  });
}

/** Says both, and goes on until everything is well again. */
async function play(
  stage: Stage,
  victims: Victim[],
  by: Instance,
  { after, doors, wasStopped = false }: { after(): Promise<void>; doors: Instance[]; wasStopped?: boolean },
): Promise<void> {
  const grace = new Grace();
  const start = performance.now();
  await Promise.all(victims.map((victim) => sayTo(by, victim)));
  stage.note(`promised after ${Math.round(performance.now() - start)} ms`);
  await pause(300);
  await after();
  await pause(700);
  const blocked = victims.filter(({ verb }) => verb === 'block');
  for (const victim of blocked) {
    const late = doors.map(({ port }) => rawPage(port, victim.user, ['tidings.1']));
    victim.pages.push(...late);
    await until('those who come late to be sent away', () => late.every(({ ends }) => ends.length > 0));
    for (const { ends } of late)
      stage.check(ends[0] === 4503, `who is blocked was told ${ends[0]} at the door`);
  }
  await until('all pages to be gone', () =>
    victims.every(({ pages, verb }) => pages.every(({ ends }) => verb !== 'disconnect' || ends.length > 0)),
  );
  judge(stage, victims, grace, { wasStopped });
  await Promise.all(victims.map((victim) => victim.stop()));
}

export const endingFrozen: Scenario = {
  name: 'ending-frozen',
  stores: ['redis', 'postgres', 'cluster'],
  what: 'disconnect and block while an instance stands still (SIGSTOP; 90 s in the long form), also in the middle of a recovery of 1,000 messages; then it goes on',
  expects: 'complete',
  setting: setting(),
  async play(stage) {
    const by = stage.instances[0]!;
    const frozen = await stage.beside(stage.store);
    const chance = chances(stage.plan.seed);
    const rounds = stage.plan.isShort ? 2 : 6;
    for (let round = 0; round < rounds; round++) {
      const victims = pairOf(by);
      openOn(victims, frozen);
      await haveSome(victims);
      const many = await backlog(by, `${victims[0]!.user}r`);
      victims.push(many);
      // Some are still to be recovered from the log, others on their way through the network.
      for (let i = 0; i < 4; i++) many.pages.push(rawPage(frozen.port, many.user, ['tidings.1']));
      const wanted = 50 + Math.floor(chance() * 900);
      await until('the middle of a recovery', () => many.pages.some(({ seen }) => seen.length >= wanted));
      frozen.signal('SIGSTOP');
      try {
        await play(stage, victims, by, {
          after: async () => {
            await pause(stage.plan.isShort ? 200 : round === 0 ? 90_000 : 8_000);
            frozen.signal('SIGCONT');
          },
          doors: [by, frozen],
          wasStopped: true,
        });
      } finally {
        frozen.signal('SIGCONT');
      }
    }
  },
};

/** Somebody with 1,000 messages to recover. */
async function backlog(by: Instance, user: string): Promise<Victim> {
  const victim = new Victim(user, 'disconnect');
  const store = async (n: number): Promise<void> => {
    await by.ask(`/send/${encodeURIComponent(`user:${user}`)}`, {
      method: 'POST',
      body: JSON.stringify({ data: { n: 0 }, key: `${user} old ${n}` }),
    });
  };
  for (let n = 0; n < 1000; n += 100) await Promise.all(Array.from({ length: 100 }, (_, i) => store(n + i)));
  victim.send(by);
  return victim;
}

/** Which of an instance's connections to the store fail, and how. */
const cuts: Record<string, (proxy: TcpProxy) => void> = {
  'the commands': (proxy) => {
    proxy.freeze({ label: 'commands' });
  },
  'the subscriptions': (proxy) => {
    proxy.freeze({ label: 'subscriber' });
  },
  both: (proxy) => {
    proxy.freeze();
    proxy.swallows = true;
  },
  'both, with a reset': (proxy) => {
    proxy.refuses = true;
    proxy.cut();
  },
};

export const endingCut: Scenario = {
  name: 'ending-cut',
  what: 'disconnect and block while an instance is cut off from Redis: its commands, its subscriptions, or both',
  expects: 'complete',
  setting: setting(),
  async play(stage) {
    const by = stage.instances[0]!;
    const cutOff = async (cut: (proxy: TcpProxy) => void): Promise<void> => {
      const proxy = await TcpProxy.start(() => [stage.lone.port]);
      stage.atEnd(() => proxy.close());
      proxy.label = stage.lone.label;
      const away = await stage.beside(stage.lone.at(proxy.port));
      const victims = pairOf(by);
      openOn(victims, away, stage.front);
      await haveSome(victims);
      cut(proxy);
      await play(stage, victims, by, {
        after: async () => {
          await pause(lease(stage.plan.isShort));
          proxy.refuses = false;
          proxy.swallows = false;
          proxy.cut();
          await until(
            'its way to the store to be back',
            async () => !(await away.ask<{ storeAway: boolean }>('/stats')).storeAway,
            20_000,
          );
        },
        doors: [by, away],
      });
      await away.kill();
    };
    await Promise.all(Object.values(cuts).map(cutOff));
  },
};

export const endingSockJs: Scenario = {
  name: 'ending-sockjs',
  what: 'disconnect and block of pages on each SockJS transport, polled through any instance, while one of the two can not ask Redis for anything, and comes back',
  expects: 'complete',
  setting: setting({ options: { sockjs: { prefix: '/sockjs/socketServer' } } }),
  async play(stage) {
    const by = stage.instances[0]!;
    const proxy = await TcpProxy.start(() => [stage.lone.port]);
    stage.atEnd(() => proxy.close());
    proxy.label = stage.lone.label;
    const away = await stage.beside(stage.lone.at(proxy.port));
    const either = await TcpProxy.start(() => [by.port, away.port]);
    stage.atEnd(() => either.close());
    for (let round = 0; round < (stage.plan.isShort ? 1 : 4); round++) {
      const victims = pairOf(by);
      for (const { user, pages } of victims) {
        for (const port of [by.port, away.port, either.port]) {
          for (const path of ['xhr', 'xhr_streaming'] as const) {
            pages.push(
              clientPage(`ws://127.0.0.1:${port}/socketServer`, user, {
                transport: sockJsTransport(undefined, path),
                comesBack: false,
                connectTimeout: 30_000,
              }),
            );
          }
          for (const transport of ['eventsource', 'htmlfile', 'jsonp'])
            pages.push(elementPage(port, user, transport));
        }
      }
      await haveSome(victims, 1);
      // It still hears all messages.
      proxy.freeze({ label: 'commands' });
      proxy.swallows = true;
      await play(stage, victims, by, {
        after: async () => {
          await pause(lease(stage.plan.isShort));
          proxy.swallows = false;
          proxy.cut();
        },
        doors: [by, away],
      });
      // For the next round.
      await until(
        'its return',
        async () => !(await away.ask<{ storeAway: boolean }>('/stats')).storeAway,
        20_000,
      );
    }
  },
};

/** What a page reads with an element, in plain mode; each answer is asked for again, as long as there is a session. */
function elementPage(port: number, user: string, transport: string): VictimPage {
  const page = { seen: [] as VictimPage['seen'], ends: [] as number[], close: () => {} };
  const session = Math.random().toString(36).slice(2);
  let isOver = false;
  let opened = 0;
  const ask = (): void => {
    const url = `http://127.0.0.1:${port}/sockjs/socketServer/000/${session}/${transport}?user=${user}&c=cb`;
    const request = get(url, { headers: { 'sec-fetch-site': 'same-origin' } }, (response) => {
      response.setEncoding('utf8').on('data', (text: string) => {
        const plain = text.replaceAll('\\', '');
        if (/(?:^data: |^cb\("|\*\/cb\("|^p\(")o\b/m.test(plain) && ++opened > 1) {
          // The session was over for so long that this is another: as a page that comes later, which may.
          page.ends.push(1006);
          page.close();
          return;
        }
        for (const [, n] of plain.matchAll(/"n":(\d+)/g))
          page.seen.push({ n: Number(n), at: performance.now() });
        const [, code] = /c\[(\d+),/.exec(plain) ?? [];
        if (code !== undefined || response.statusCode !== 200)
          page.ends.push(Number(code ?? response.statusCode));
      });
      response.on('close', () => {
        if (isOver || page.ends.length > 0) return;
        // Cut with its session: to ask again would be to come anew.
        if (response.complete) ask();
        else page.ends.push(1006);
      });
    });
    request.on('error', () => {
      // The session is gone with what it had.
      if (page.ends.length === 0) page.ends.push(1006);
    });
    page.close = () => {
      isOver = true;
      request.destroy();
    };
  };
  ask();
  return page;
}

export const endingDrain: Scenario = {
  name: 'ending-drain',
  stores: ['redis', 'postgres', 'cluster'],
  what: 'disconnect and block while an instance drains, and its pages go to the others',
  expects: 'complete',
  setting: setting({ instances: 2, drain: 2000, options: { sockjs: { prefix: '/sockjs/socketServer' } } }),
  async play(stage) {
    const by = stage.instances[0]!;
    for (let round = 0; round < (stage.plan.isShort ? 2 : 6); round++) {
      const going = await stage.beside(stage.store);
      const victims = pairOf(by);
      openOn(victims, going, stage.front);
      for (const { user, pages } of victims) {
        pages.push(
          clientPage(`ws://127.0.0.1:${going.port}/socketServer`, user, {
            transport: sockJsTransport(undefined, 'xhr'),
            comesBack: false,
          }),
        );
      }
      await haveSome(victims);
      const gone = going.terminate();
      await pause(chances(stage.plan.seed + round)() * 1500);
      await play(stage, victims, by, { after: async () => void (await gone), doors: stage.instances });
    }
  },
};

export const endingFailover: Scenario = {
  name: 'ending-failover',
  what: 'disconnect and block while the master of Redis is killed and the Sentinels make its replica the master',
  expects: 'either',
  stores: ['redis'],
  setting: setting({ store: 'sentinels' }),
  async play(stage) {
    const [by, other] = stage.instances as [Instance, Instance];
    const victims = pairOf(by);
    openOn(victims, other, stage.front);
    openOn(victims, by);
    await haveSome(victims);
    const chance = chances(stage.plan.seed);
    const killed = pause(chance() * 200).then(async () =>
      stage.sentinels.kill(await stage.sentinels.master()),
    );
    await pause(chance() * 200);
    await play(stage, victims, by, { after: () => killed, doors: stage.instances });
    await stage.recovered();
  },
};

export const endingPromotion: Scenario = {
  name: 'ending-promotion',
  what: 'disconnect and block while the primary of PostgreSQL is killed, and its standby, which may lack something, is promoted',
  expects: 'either',
  stores: ['postgres'],
  setting: setting(),
  async play(stage) {
    const standby = await standbyOf(stage);
    const [by, other] = stage.instances as [Instance, Instance];
    const victims = pairOf(by);
    openOn(victims, other, stage.front);
    openOn(victims, by);
    await haveSome(victims);
    const chance = chances(stage.plan.seed);
    const promoted = pause(chance() * 200).then(async () => {
      await stage.lone.kill();
      await promote(stage, standby);
    });
    await pause(chance() * 200);
    await play(stage, victims, by, { after: () => promoted, doors: stage.instances });
    await stage.recovered();
  },
};
