/** The control log in Redis: each step is a script. */
import { isForbidden, RedisError, RedisReplyError, wasNotExecuted } from '../redis/errors.ts';
import type { RespArgument } from '../redis/resp-encoder.ts';
import { Script } from '../redis/script.ts';
import type { RedisTopology } from '../redis/topology.ts';
import { type ControlRecord, MAX_RECORDS } from './control.ts';
import type {
  ControlStore,
  Entry,
  Failure,
  KeptRecord,
  LeaseReply,
  LeaseRequest,
  Place,
  Progress,
  Restored,
} from './control-store.ts';
import { MAX_COMMANDS } from './leased-control.ts';
import { lua } from './lua.ts';
import { randomId } from './random-id.ts';
import { ChannelKeys } from './redis-layout.ts';

const script = (name: 'lease' | 'command' | 'progress' | 'restore'): Script =>
  new Script(`${lua.control}\n${lua[name]}`);
const leaseScript = script('lease');
const commandScript = script('command');
const progressScript = script('progress');
const restoreScript = script('restore');

/** No topic and no user has a name with a line break. */
const NAME = 'control\n';
const FOREVER = 'inf';

export class RedisControl implements ControlStore {
  /** Where it rings. */
  readonly bus: string;
  readonly #topology: RedisTopology;
  readonly #keys: string[];

  constructor(topology: RedisTopology, prefix: string) {
    this.#topology = topology;
    const keys = new ChannelKeys(prefix, NAME, topology.database);
    this.bus = keys.bus;
    this.#keys = ['state', 'log', 'leases', 'records', 'lease:', 'count:'].map((name) => keys.own(name));
  }

  get newer(): { code: string; address: string } {
    return { code: 'REDIS_LAYOUT', address: this.#topology.address };
  }

  async subscribe(): Promise<void> {
    await this.#topology.subscribe(this.bus);
  }

  async layout(): Promise<number | undefined> {
    const state = this.#keys[0]!;
    const layout = await this.#topology.command(state, ['HGET', state, 'layout']);
    return layout === null ? undefined : Number(layout);
  }

  async lease({ instance, name, length, place, most, layout, counts }: LeaseRequest): Promise<LeaseReply> {
    const { epoch, number, id } = place;
    const args = [instance, name, length, epoch, number, id, most, layout, ...counts.flat()];
    const reply = (await this.#evaluate(leaseScript, args)) as
      | ['newer', string]
      | ['lost']
      | ['ok' | 'missed', string, number, string, number, string[], string[]];
    if (reply[0] === 'newer') return { status: 'newer', layout: Number(reply[1]) };
    if (reply[0] === 'lost') return { status: 'lost' };
    const [status, itsEpoch, itsNumber, itsId, time, entries, records] = reply;
    return {
      status,
      place: { epoch: itsEpoch, number: itsNumber, id: itsId },
      time,
      entries: entries.flatMap(decodeEntry),
      isAll: entries.length < most,
      records: decodeRecords(records),
    };
  }

  async command({
    id,
    said,
    change,
  }: Parameters<ControlStore['command']>[0]): Promise<{ epoch: string; number: number } | 'full'> {
    const [epoch, number] = (await this.#evaluate(commandScript, [
      id,
      said,
      MAX_COMMANDS,
      this.#topology.publishCommand,
      this.bus,
      MAX_RECORDS,
      change?.key ?? '',
      untilOf(change?.record),
      change?.record?.value ?? '',
    ])) as [string, number];
    return epoch === 'full' ? 'full' : { epoch, number };
  }

  async progress({ epoch, number, id }: Place, lease: number): Promise<Progress | 'lost'> {
    const reply = await this.#evaluate(progressScript, [epoch, number, id, lease]);
    const [status, unknown, pending, counts] = reply as [string, number, string[], string[]];
    if (status === 'lost') return 'lost';
    return {
      unknown,
      pending,
      count: counts.reduce((sum, one) => sum + Number(one), 0),
    };
  }

  async restore(
    records: { key: string; kept: KeptRecord; id: string; said: string }[],
    commands: Omit<Entry, 'number'>[],
  ): Promise<Restored> {
    const reply = (await this.#evaluate(restoreScript, [
      MAX_COMMANDS,
      this.#topology.publishCommand,
      this.bus,
      records.length,
      ...records.flatMap(({ key, kept: { time, record }, id, said }) => [
        key,
        time,
        untilOf(record),
        record?.value ?? '',
        id,
        said,
      ]),
      ...commands.flatMap(({ id, time, said }) => [id, time, said]),
    ])) as [string, number, string, number, number, string[], string[]];
    const [epoch, number, id, time, since, entries, fields] = reply;
    return {
      place: { epoch, number, id },
      time,
      since,
      entries: entries.flatMap(decodeEntry),
      records: decodeRecords(fields),
    };
  }

  async leave(instance: string): Promise<void> {
    const key = this.#keys[4]! + instance;
    await this.#topology.command(key, ['DEL', key]);
  }

  away(message: string): Error {
    return new RedisError('REDIS_UNAVAILABLE', message);
  }

  failureOf(error: unknown): Failure {
    if (error instanceof RedisError && error.code === 'REDIS_CLOSED') return 'closed';
    if (isForbidden(error)) return 'forbidden';
    return error instanceof RedisReplyError && !wasNotExecuted(error) ? 'refused' : 'passing';
  }

  #evaluate(call: Script, args: RespArgument[]): Promise<unknown> {
    return this.#topology.evaluate({ script: call, keys: this.#keys, args: [randomId(9), ...args] });
  }
}

function untilOf(record: ControlRecord | undefined): string {
  if (record === undefined) return '';
  return Number.isFinite(record.until) ? String(Math.ceil(record.until)) : FOREVER;
}

/** None where it is no entry. */
function decodeEntry(text: string): Entry[] {
  const [, number, id, time, said] = /^(\d+) (\S+) (\d+) (.*)$/s.exec(text) ?? [];
  return number === undefined ? [] : [{ number: Number(number), id: id!, time: Number(time), said: said! }];
}

function decodeRecords(fields: string[]): [key: string, kept: KeptRecord][] {
  const records: [string, KeptRecord][] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const [, time, until, value] = /^(\d+) (\S+) (.*)$/s.exec(fields[i + 1]!) ?? [];
    if (time === undefined) continue;
    const record = { value: value!, until: until === FOREVER ? Number.POSITIVE_INFINITY : Number(until) };
    records.push([fields[i]!, { time: Number(time), record }]);
  }
  return records;
}
