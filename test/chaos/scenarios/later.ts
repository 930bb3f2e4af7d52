/** Messages that are sent later while those who send them die, one after the other. */
import { Random } from '../../../src/prove/random.ts';
import type { Broker } from '../../../src/pubsub/store/broker.ts';
import { schedule } from '../../../src/push/sending/schedule.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { foreignBroker } from '../store-target.ts';

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

const CHANNELS = ['user:later1', 'user:later2', 'later3', 'user:later4'];
/** Messages of a channel that are due at one moment. */
const TOGETHER = 5;

/** When each message of a channel is due: they are numbered 0, 1, 2 … */
type Dues = Map<string, number[]>;

export const later: Scenario = {
  name: 'later',
  what: 'messages are scheduled while every instance, each of which may be the one that sends them, is killed again and again (a hundred times in the long form) or stands still, and Redis too',
  expects: 'complete',
  setting: {
    instances: 3,
    store: 'durable',
    users: 2,
    pages: 1,
    interval: 40,
    options: { lease: 500 },
  },
  async play(stage) {
    const kills = stage.plan.isShort ? 15 : 120;
    const random = new Random(stage.plan.seed);
    const broker = await foreignBroker(stage.store);
    stage.atEnd(() => broker.close());
    const dues: Dues = new Map(CHANNELS.map((channel) => [channel, []]));
    let isOver = false;
    let killed = 0;
    let storeKilled = 0;
    const scheduling = (async () => {
      while (!isOver) {
        const at = Date.now() + 200 + random.below(1200);
        for (const [channel, due] of dues) await add(broker, channel, due, Math.max(at, due.at(-1) ?? 0));
        await pause(60);
      }
    })();
    const killing = stage.instances.map(async (instance) => {
      while (killed < kills) {
        await pause(random.below(1000));
        if (random.chance(5)) {
          // It stands still for longer than its lease, and then believes that it has it.
          instance.signal('SIGSTOP');
          await pause(600 + random.below(400));
          instance.signal('SIGCONT');
          continue;
        }
        killed++;
        await instance.kill();
        await instance.start();
      }
    });
    const storeKilling = (async () => {
      for (const part of stage.plan.isShort ? [0.5] : [0.2, 0.4, 0.6, 0.8]) {
        await stage.until('some kills', () => killed >= kills * part);
        await stage.lone.kill();
        await stage.lone.start();
        storeKilled++;
      }
    })();
    await Promise.all([...killing, storeKilling]);
    isOver = true;
    await scheduling;
    await stage.until(
      'everything to be sent',
      async () => (await broker.schedule.list({ limit: 1 })).count === 0,
    );
    const late = await judge(stage, broker, dues);
    const count = [...dues.values()].reduce((sum, due) => sum + due.length, 0);
    stage.note(
      `${count} scheduled, ${killed} times an instance killed, the store ${storeKilled} times; the latest came ${late} ms after its time`,
    );
    await stage.recovered();
  },
};

/** Each is added until it is known that it was: again under the same key. */
async function add(broker: Broker, channel: string, due: number[], at: number): Promise<void> {
  for (let i = 0; i < TOGETHER; i++) {
    const n = due.length;
    const settings = { idempotencyKey: `later ${n}` };
    const message = { channel, kind: 'json' as const, payload: Buffer.from(`${n}`), at, settings };
    const deadline = performance.now() + 60_000;
    for (;;) {
      try {
        await schedule(broker.schedule, 0, message);
        break;
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await pause(20);
      }
    }
    due.push(at);
  }
}

/** Each once, in order, none early. Returns how late the latest was, in milliseconds. */
async function judge(stage: Stage, broker: Broker, dues: Dues): Promise<number> {
  let late = 0;
  for (const [channel, due] of dues) {
    let expected = 0;
    for (let after = 0; ; ) {
      const { messages } = await broker.read(channel, after, 1000);
      if (messages.length === 0) break;
      for (const { payload, time, offset } of messages) {
        const n = Number(payload.toString());
        after = offset;
        stage.check(n === expected, `${channel}: message ${n} in place of ${expected}`);
        stage.check(time >= due[n]!, `${channel}: message ${n} was sent ${due[n]! - time} ms early`);
        expected = n + 1;
        late = Math.max(late, time - due[n]!);
      }
    }
    stage.check(expected === due.length, `${channel}: ${due.length - expected} messages are missing`);
  }
  return late;
}
