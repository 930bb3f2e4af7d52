/**
 * Plays what may happen to one inbox: sends, marks, removals, retention, time, losses of the store, and five devices that
 * come and go at five instances. After each step, every device that is connected has to agree with the model on every
 * state and every count.
 */
import assert from 'node:assert/strict';
import type { Broker, BrokerListener, Position, StoredMessage } from '../../../src/pubsub/store/broker.ts';
import { countsOf, MARK_AS, type Mark, type Marked } from '../../../src/pubsub/store/marks.ts';
import { text } from './broker-suite.ts';
import { InboxModel, said, stateOf } from './inbox-model.ts';

export const DEVICES = 5;

/** A store with as many instances as there are devices, and a clock. */
export interface Stage {
  open(listener: BrokerListener): Promise<Broker>;
  /** Milliseconds since 1970 by the store's clock. */
  clock(): number;
  /** Milliseconds that a step may take before anything expires in the middle of it. */
  readonly step: number;
  /** Milliseconds that a message with a short life has, and after which `pass` has it expired. */
  readonly short: number;
  pass(): Promise<void>;
  /** Waits until it is so: what is told comes later than the answer of a call. */
  until(what: string, condition: () => boolean | Promise<boolean>): Promise<unknown>;
  /** Ways to lose all of a channel: each does it, and tells whether there was something to lose. */
  readonly losses: Record<string, (channel: string) => Promise<boolean>>;
  /** Keeps how the channel is now, for `rewind` to come back to. */
  save(channel: string): Promise<void>;
  /** Whether there was something to come back to. */
  rewind(channel: string): Promise<boolean>;
}

/** Numbers that look random, the same for each seed. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2654435761) >>> 0;
  }

  /** From 0 to below `count`. */
  roll(count: number): number {
    // mulberry32
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * count) | 0;
  }

  pick<T>(all: readonly T[]): T {
    return all[this.roll(all.length)]!;
  }
}

/** What a page does with what it hears: keeps the newest marks, and the messages from where it stands. */
class Device {
  readonly name: string;
  readonly #most: number;
  /** The instance that it is connected to, if it is. */
  at: number | undefined;
  position: Position | undefined;
  marked: Marked | undefined;
  /** What it has been given of each message. */
  readonly given = new Map<number, StoredMessage>();
  /** What was heard while it was opening. */
  #waiting: (() => void)[] | undefined;
  hasGap = false;

  /** @param most messages that are kept; in a channel that was never used, the store can't know */
  constructor(name: string, most: number) {
    this.name = name;
    this.#most = most;
  }

  async connect(broker: Broker, channel: string, at: number): Promise<void> {
    this.at = at;
    this.#waiting = [];
    const { marked: told } = await broker.opening(channel);
    this.marked = told ?? (await broker.marks(channel));
    if (this.position !== undefined && !(await stands(this.position, broker, channel))) {
      this.position = undefined;
      this.given.clear();
    }
    for (;;) {
      const { messages, top } = await broker.read(channel, this.position?.offset ?? 0, 200);
      for (const message of messages) this.#take(message);
      if (messages.length > 0) continue;
      if (top.offset > 0) this.position = top;
      break;
    }
    this.hasGap = false;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const hear of waiting) hear();
  }

  hear(message: StoredMessage): void {
    if (this.#waiting !== undefined) {
      this.#waiting.push(() => this.hear(message));
      return;
    }
    const { position } = this;
    if (position !== undefined && message.epoch !== position.epoch) this.hasGap = true;
    else if (message.offset <= (position?.offset ?? 0)) return;
    else if (message.offset === (position?.offset ?? 0) + 1) this.#take(message);
    else this.hasGap = true;
  }

  hearMarks(marked: Marked): void {
    if (this.#waiting !== undefined) {
      this.#waiting.push(() => this.hearMarks(marked));
      return;
    }
    const [mine, other] = [this.marked!.marks.version, marked.marks.version];
    if (mine.epoch === other.epoch && other.offset <= mine.offset) return;
    this.marked = marked;
  }

  #take(message: StoredMessage): void {
    const { epoch, offset, id } = message;
    this.position = { epoch, offset, id };
    this.given.set(offset, message);
  }

  get first(): number {
    const { first } = this.marked!;
    const most = Math.min(this.marked!.most, this.#most);
    return Math.max(first, (this.position?.offset ?? 0) - most + 1);
  }

  /** The state of each message that is kept, and the counts. */
  get shown(): string {
    const { first, marked } = this;
    const last = this.position?.offset ?? 0;
    const { marks } = marked!;
    let shown = '';
    for (let offset = first; offset <= last; offset++) shown += `${offset} ${stateOf(marks, offset)}, `;
    return shown + said(countsOf(marks, first, last));
  }
}

/** Whether the log has this very message at its end, or keeps it: then who stands there can go on. */
async function stands({ epoch, offset, id }: Position, broker: Broker, channel: string): Promise<boolean> {
  const { messages, top } = await broker.read(channel, offset - 1, 1);
  return [top, ...messages].some((one) => one.epoch === epoch && one.offset === offset && one.id === id);
}

/** Nothing is wrong, and nothing proved. */
export class TooSlow extends Error {}

export class Play {
  readonly channel: string;
  readonly #stage: Stage;
  readonly #dice: Dice;
  #brokers: Broker[] = [];
  readonly #devices: Device[];
  readonly model = new InboxModel();
  #saved: InboxModel | undefined;
  /** Of all messages there ever were, the lost ones among them. */
  readonly #positions: Position[] = [];
  #sent = 0;
  #asked = 0;
  readonly #most: number;
  readonly #age: number;
  /** What was done, for who reads a failure. */
  readonly story: string[] = [];

  constructor(stage: Stage, channel: string, seed: number) {
    this.channel = channel;
    this.#stage = stage;
    this.#dice = new Dice(seed);
    this.#most = this.#dice.pick([2, 5, 12, 40]);
    this.#devices = Array.from({ length: DEVICES }, (_, i) => new Device(`device ${i}`, this.#most));
    this.#age = this.#dice.roll(4) === 0 ? 2 * stage.short : 3_600_000;
  }

  async run(steps: number): Promise<void> {
    this.#brokers = await Promise.all(
      this.#devices.map((_, i) =>
        this.#stage.open({
          message: (message) => this.#ring(i, message.channel, (device) => device.hear(message)),
          marked: (channel, marked) => this.#ring(i, channel, (device) => device.hearMarks(marked)),
          transient() {},
          acknowledged() {},
          down() {},
          up() {},
        }),
      ),
    );
    try {
      await Promise.all(this.#brokers.map((broker) => broker.subscribe(this.channel)));
      for (const [i, device] of this.#devices.entries()) await this.#connect(device, i);
      for (let step = 0; step < steps; step++) {
        await this.#step();
        await this.#agree();
      }
      for (const device of this.#devices) if (device.at === undefined) await this.#connect(device);
      await this.#agree();
    } finally {
      await Promise.all(this.#brokers.map((broker) => broker.close()));
    }
  }

  #ring(broker: number, channel: string, tell: (device: Device) => void): void {
    if (channel !== this.channel) return;
    for (const device of this.#devices) if (device.at === broker) tell(device);
  }

  async #step(): Promise<void> {
    const dice = this.#dice;
    const kind = dice.roll(22);
    if (kind < 6) return this.#burst([this.#send()]);
    if (kind < 12) return this.#burst([this.#mark()]);
    if (kind < 14)
      return this.#burst(
        Array.from({ length: 2 + dice.roll(6) }, () => (dice.roll(2) ? this.#send() : this.#mark())),
      );
    if (kind < 15) return this.#remove();
    if (kind < 17) return this.#comeOrGo();
    if (kind < 18) {
      this.story.push('time passes');
      return this.#stage.pass();
    }
    if (kind < 20) {
      await this.#stage.save(this.channel);
      this.#saved = this.model.clone();
      this.story.push('saved');
      return;
    }
    return kind === 20 ? this.#lose(dice.pick(Object.keys(this.#stage.losses))) : this.#lose(undefined);
  }

  #send(): Sending {
    const dice = this.#dice;
    return {
      payload: `m${++this.#sent}`,
      ttl: dice.roll(5) === 0 ? this.#stage.short : undefined,
      replaces: dice.roll(3) === 0 ? dice.pick(['a', 'b', '__proto__']) : undefined,
    };
  }

  #mark(): Mark {
    const dice = this.#dice;
    const as = dice.roll(12) === 0 ? 'deleted' : dice.pick(MARK_AS.slice(0, 5));
    const known = this.#positions.slice(-8);
    // Now and then one of the lost, or one that nobody has sent.
    const some = (): Position => {
      const one = dice.roll(6) || known.length === 0 ? dice.pick(known) : dice.pick(this.#positions);
      if (one === undefined) return { epoch: 'e', offset: 1, id: 'i' };
      return dice.roll(10)
        ? one
        : { ...one, ...dice.pick([{ id: 'x' }, { epoch: 'x' }, { offset: one.offset + 1 }]) };
    };
    const how = dice.roll(4);
    if (how === 0) return { as };
    if (how === 1) return { as, upTo: some() };
    return { as, messages: Array.from({ length: how === 2 ? 1 : dice.roll(5) }, some) };
  }

  /** At once, by any instances. In which order they were done shows in the answers. */
  async #burst(all: (Sending | Mark)[]): Promise<void> {
    const now = await this.#now();
    const done = await Promise.all(
      all.map(async (one) => {
        const by = this.#dice.roll(DEVICES);
        const broker = this.#brokers[by]!;
        this.story.push(`${by}: ${JSON.stringify(one)}`);
        if ('as' in one) {
          const marked = await broker.mark(this.channel, one);
          const change = marked.changed > 0 ? 0 : 1;
          return { one, marked, order: [marked.top.offset, 1, marked.marks.version.offset, change] };
        }
        const { payload, ttl, replaces } = one;
        const receipt = await broker.publish(this.channel, 'text', text(payload), {
          retention: { maxMessages: this.#most, maxAge: this.#age },
          ...(ttl !== undefined && { ttl }),
          ...(replaces !== undefined && { replaces }),
        });
        return { one, receipt, order: [receipt.offset, 0, 0, 0] };
      }),
    );
    done.sort((x, y) => {
      const at = x.order.findIndex((value, i) => value !== y.order[i]);
      return at === -1 ? 0 : x.order[at]! - y.order[at]!;
    });
    for (const { one, marked, receipt } of done) {
      if (receipt !== undefined) {
        const { epoch, offset, id } = receipt;
        const position = { epoch, offset, id };
        assert.equal(offset, (this.model.top?.offset ?? 0) + 1, 'offsets are contiguous');
        if (this.model.top !== undefined) assert.equal(epoch, this.model.top.epoch);
        this.#positions.push(position);
        const { payload, ttl, replaces } = one as Sending;
        const message = await this.#stored(position);
        if (message !== undefined) assert.ok(message.time >= now, 'it is as old as it can be');
        this.model.add(position, payload, message?.time ?? now, { most: this.#most, ttl, replaces });
      } else if (marked !== undefined) {
        this.model.look(now, this.#age);
        this.#inTime();
        const changed = this.model.mark(one as Mark);
        assert.equal(marked.changed, changed, `${JSON.stringify(one)} changes ${changed}`);
        if (done.length > 1) continue;
        const { marks, first, top } = marked;
        assert.deepEqual(countsOf(marks, first, top.offset), this.model.counts);
      }
    }
  }

  async #stored({ offset }: Position): Promise<StoredMessage | undefined> {
    const { messages } = await this.#brokers[0]!.read(this.channel, offset - 1, 1);
    return messages[0]?.offset === offset ? messages[0] : undefined;
  }

  async #remove(): Promise<void> {
    const dice = this.#dice;
    const which =
      dice.roll(2) && this.#positions.length > 0
        ? { position: dice.pick(this.#positions.slice(-10)) }
        : { key: dice.pick(['a', 'b', '__proto__', 'c']) };
    this.story.push(`remove ${JSON.stringify(which)}`);
    this.model.look(await this.#now(), this.#age);
    const removed = await this.#brokers[dice.roll(DEVICES)]!.remove(this.channel, which);
    this.#inTime();
    assert.equal(removed, this.model.remove(which));
  }

  async #comeOrGo(): Promise<void> {
    const device = this.#dice.pick(this.#devices);
    if (device.at !== undefined) {
      this.story.push(`${device.name} goes`);
      device.at = undefined;
      return;
    }
    // While others are at it.
    const noise = this.#dice.roll(2) ? [this.#send(), this.#mark()] : [];
    await Promise.all([this.#connect(device), this.#burst(noise)]);
  }

  async #connect(device: Device, at = this.#dice.roll(DEVICES)): Promise<void> {
    this.story.push(`${device.name} comes to ${at}`);
    await device.connect(this.#brokers[at]!, this.channel, at);
  }

  /** @param how it loses all; undefined: it comes back with what was saved */
  async #lose(how: string | undefined): Promise<void> {
    const known = await Promise.all(this.#brokers.map((broker) => broker.marks(this.channel)));
    const lost = await (how === undefined
      ? this.#stage.rewind(this.channel)
      : this.#stage.losses[how]!(this.channel));
    if (!lost) return;
    this.story.push(how ?? 'the store is rewound');
    if (how === undefined) this.model.restore(this.#saved!);
    else this.model.clear();
    // As each instance does once the store is back: it compares what it knows.
    const ask = (): Promise<Marked[]> =>
      Promise.all(this.#brokers.map((broker) => broker.marks(this.channel)));
    await ask();
    const now = await ask();
    const [before, after] = [known[0]!.marks.version, now[0]!.marks.version];
    for (const { marks } of now) assert.deepEqual(marks.version, after, 'all are told the same');
    if (before.offset > after.offset && before.offset > 0 && after.offset > 0) {
      assert.notEqual(after.epoch, before.epoch, 'it is told that marks were lost');
    }
    this.model.epoch(now[0]!.top.epoch);
    for (const device of this.#devices) {
      if (device.at !== undefined) await this.#connect(device, device.at);
    }
  }

  /** The time, once nothing expires in the next moments. */
  async #now(): Promise<number> {
    const { step } = this.#stage;
    for (;;) {
      const now = this.#stage.clock();
      this.#asked = now;
      const isNear = (moment: number): boolean => moment > now && moment <= now + step;
      if (step === 0 || !this.model.boundaries(this.#age).some(isNear)) return now;
      await new Promise((resolve) => setTimeout(resolve, step / 4));
    }
  }

  /** @throws {TooSlow} if something may have expired since: then nothing is proved */
  #inTime(): void {
    if (this.#stage.clock() > this.#asked + this.#stage.step) throw new TooSlow();
  }

  async #agree(): Promise<void> {
    const top = this.model.top?.offset ?? 0;
    for (const device of this.#devices) {
      if (device.at === undefined) continue;
      const broker = this.#brokers[device.at]!;
      if (device.hasGap) await this.#connect(device, device.at);
      await this.#stage.until(
        `${device.name} to have all`,
        () => device.hasGap || (device.position?.offset ?? 0) >= top,
      );
      if (device.hasGap) await this.#connect(device, device.at);
      const isSame = async (): Promise<boolean> => {
        const now = this.#stage.clock();
        // What an instance does when it is time: who need not ask yet is right without.
        if (this.#nextOf(device) <= now) device.marked = await broker.marks(this.channel);
        this.model.look(now, this.#age);
        return device.shown === this.model.shown;
      };
      // Also where something has expired meanwhile, all agree in the end.
      await this.#stage.until(`${device.name} to agree`, isSame).catch(() => {});
      if (!(await isSame())) assert.equal(device.shown, this.model.shown, device.name);
      assert.equal(device.position?.id ?? '', this.model.top?.id ?? '');
      for (const { offset, payload, isGone } of this.model.messages) {
        const given = device.given.get(offset)!;
        if (
          isGone ? given.kind !== 'gone' || given.payload.length === 0 : given.payload.toString() === payload
        )
          continue;
        assert.fail(`${device.name} was given ${given.kind} ${given.payload} for ${offset} ${payload}`);
      }
    }
    const broker = this.#brokers[this.#dice.roll(DEVICES)]!;
    this.model.look(await this.#now(), this.#age);
    const { messages } = await broker.read(this.channel, 0, 1000);
    this.#inTime();
    const log = messages.map(({ offset, kind, payload }) => `${offset} ${kind === 'gone' ? kind : payload}`);
    assert.equal(log.join(), this.model.log.join(), 'what is gone is erased, and all else is there');
  }

  #nextOf(device: Device): number {
    let next = device.marked!.marks.next ?? Number.POSITIVE_INFINITY;
    for (const [offset, { time, expires }] of device.given) {
      if (offset > device.marked!.top.offset) next = Math.min(next, expires ?? next, time + this.#age);
    }
    return next;
  }
}

interface Sending {
  payload: string;
  ttl: number | undefined;
  replaces: string | undefined;
}
