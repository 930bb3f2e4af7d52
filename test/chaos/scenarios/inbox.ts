/** Mail that is read, archived and deleted on five pages at once, while instances and Redis end. */
import { Mailbox } from '../mailbox.ts';
import type { Scenario } from '../scenario.ts';
import type { Setting, Stage } from '../stage.ts';

const setting = (store: NonNullable<Setting['store']>): Setting => ({
  store,
  users: 1,
  pages: 1,
  topics: [],
  interval: 20,
});

const openAll = (stage: Stage): Mailbox[] => ['m1', 'm2'].map((user) => new Mailbox(stage, user));

async function judge(stage: Stage, boxes: Mailbox[]): Promise<void> {
  for (const box of boxes) await box.judge(stage.instances);
  const sum = (of: (box: Mailbox) => number): number => boxes.reduce((all, box) => all + of(box), 0);
  stage.note(`${sum(({ marked }) => marked)} marks promised, ${sum(({ failed }) => failed)} not answered`);
}

export const inbox: Scenario = {
  name: 'inbox',
  what: 'two users’ mail is marked on five pages each, on two instances, through cut connections, kill -9 of instances and of a Redis with its log: all agree, and every mark that was answered is there',
  expects: 'complete',
  setting: setting('durable'),
  async play(stage) {
    const boxes = openAll(stage);
    for (let i = 0; i < (stage.plan.isShort ? 1 : 5); i++) {
      for (const box of boxes) await box.more(40);
      stage.front.cut();
      for (const box of boxes) await box.more(20);
      const instance = stage.instances[i % stage.instances.length]!;
      await instance.kill();
      for (const box of boxes) await box.more(20);
      await instance.start();
      for (const box of boxes) await box.more(20);
      await stage.lone.kill();
      await stage.lone.start();
      for (const box of boxes) await box.more(20);
      stage.back.cut();
      for (const box of boxes) await box.more(20);
    }
    await judge(stage, boxes);
  },
};

export const inboxRewound: Scenario = {
  name: 'inbox-rewound',
  what: 'the same, and Redis comes back from an older snapshot, or empty: all agree, what the snapshot has is there, and every page is told that marks or messages were lost',
  expects: 'told',
  setting: setting('volatile'),
  async play(stage) {
    const boxes = openAll(stage);
    for (let i = 0; i < (stage.plan.isShort ? 2 : 6); i++) {
      const isEmpty = i % 2 === 1;
      for (const box of boxes) await box.more(40);
      for (const box of boxes) await box.hold();
      await stage.lone.save();
      const kept = boxes.map((box) => (isEmpty ? new Map() : box.snapshot()));
      for (const box of boxes) box.goOn();
      for (const box of boxes) await box.more(20);
      await stage.more(0.02);
      for (const box of boxes) await box.hold();
      const told = boxes.map((box) => box.told);
      await stage.lone.kill();
      if (isEmpty) stage.lone.empty();
      else stage.lone.rewind();
      await stage.lone.start();
      for (const [k, box] of boxes.entries()) {
        box.forget(kept[k]!);
        await stage
          .until(`every page of ${box.user} to be told`, () =>
            box.told.every((now, p) => now.every((count, kind) => count > told[k]![p]![kind]!)),
          )
          .catch((error) => stage.check(false, String(error)));
      }
      // Who can't be reached meanwhile is asked again.
      for (const box of boxes) box.goOn();
      await stage.recovered();
    }
    for (const box of boxes) await box.more(20);
    await judge(stage, boxes);
  },
};
