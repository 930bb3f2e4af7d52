/**
 * Messages from programs that are no push server: whatever can XADD to the stream `<prefix>:in` sends durably,
 * with no offset to know. The instances share the stream as one consumer group and publish what they read, with
 * the entry's id as idempotency key, so that an entry is stored once even where an instance dies half-way.
 *
 * An entry has the fields `channel` and `data`, and optionally `kind` (`text`, which is the default, `json`,
 * `binary` or `reference`), `key` (an idempotency key of the program's own), `ttl` (milliseconds), `replaces` (a key),
 * `traceparent` and `tracestate` (W3C Trace Context).
 */
import { monotonicNow } from '../../clock.ts';
import { pause, within } from '../../waiting.ts';
import { isForbidden, RedisReplyError } from '../redis/errors.ts';
import type { RespReply } from '../redis/resp-reader.ts';
import { Script } from '../redis/script.ts';
import type { RedisTopology } from '../redis/topology.ts';
import type { IntakeMessage, PayloadKind } from './broker.ts';
import { isFinal } from './failures.ts';
import type { Faults } from './faults.ts';
import { lua } from './lua.ts';
import { PAYLOAD_KINDS } from './payload-kind.ts';
import { randomId } from './random-id.ts';

const finishScript = new Script(lua.finish);
const straysScript = new Script(lua.strays);

const GROUP = 'tidings';
/** Entries in one read. */
const BATCH = 64;
/** Milliseconds that a read waits for an entry. */
const BLOCK = 5_000;
/** Milliseconds between looks for what others have left lying. */
const CLAIM_INTERVAL = 15_000;
/** Milliseconds after which an entry that was read and not finished is another instance's to take. */
const CLAIM_IDLE = 30_000;
/** Milliseconds after which a consumer that has nothing and does nothing is removed from the group. */
const CONSUMER_IDLE = 60 * 60 * 1000;
/** Milliseconds that stopping may take. */
const STOP_TIMEOUT = 1000;
const MAX_REJECTED = 1000;
const PAUSE = 500;
/** How often an entry that fails is tried before others have their turn. */
const ROUNDS = 5;

type Entry = [id: Buffer, fields: Buffer[] | null];

export class RedisIntake {
  readonly #topology: RedisTopology;
  readonly #stream: string;
  readonly #store: (message: IntakeMessage) => Promise<unknown>;
  readonly #consumer = randomId(9);
  #connection: string | undefined;
  readonly #stopping = new AbortController();
  readonly #faults: Faults;
  #running: Promise<void> | undefined;
  #nextClaim = 0;

  /** @param store rejects with a TypeError, RangeError or DamagedChannelError what can never be stored */
  constructor(
    topology: RedisTopology,
    prefix: string,
    store: (message: IntakeMessage) => Promise<unknown>,
    faults: Faults,
  ) {
    this.#faults = faults;
    this.#topology = topology;
    this.#stream = `${prefix}:in`;
    this.#store = store;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Finishes what was read, and leaves nothing in this consumer's name. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#connection !== undefined) {
      // Without it, the read would end by itself a little later.
      this.#command('CLIENT', 'UNBLOCK', this.#connection).catch(() => {});
    }
    // Where Redis is away or hangs, what is left is for others to claim, so nothing is lost by not waiting.
    await within(STOP_TIMEOUT, this.#running ?? Promise.resolve());
  }

  get #isStopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      try {
        const now = monotonicNow();
        if (now >= this.#nextClaim) {
          await this.#claim();
          this.#nextClaim = now + CLAIM_INTERVAL;
        }
        await this.#handle(await this.#read());
        this.#faults.over(this.#stream);
      } catch (error) {
        this.#connection = undefined;
        await this.#recover(error);
      }
    }
    // What it has left, another claims.
    await this.#leave().catch(() => {});
  }

  /** A store that is away is told by the topology; what it answers, by nobody else. */
  async #recover(error: unknown): Promise<void> {
    if (error instanceof RedisReplyError && error.prefix === 'NOGROUP') {
      try {
        await this.#createGroup();
        return;
      } catch (another) {
        this.#complain(another);
      }
    } else {
      this.#complain(error);
    }
    await this.#pause();
  }

  #complain(error: unknown): void {
    if (!(error instanceof RedisReplyError)) return;
    this.#faults.met(this.#stream, `nothing is taken from the stream ${this.#stream}: ${error.message}`, {
      event: 'intake-failing',
      stream: this.#stream,
      error: error.message,
    });
  }

  /** The answer to a command that a user may be forbidden without anything being lost; that is told once. */
  async #optional(answer: Promise<RespReply>, without: string): Promise<RespReply | undefined> {
    try {
      return await answer;
    } catch (error) {
      if (!isForbidden(error)) throw error;
      const { message } = error as Error;
      this.#faults.note(`${this.#stream}: ${message}; without it ${without}`, {
        event: 'intake-limited',
        stream: this.#stream,
        error: message,
      });
      return undefined;
    }
  }

  async #read(): Promise<Entry[]> {
    const identified = this.#optional(this.#blocking('CLIENT', 'ID'), 'ending takes some seconds longer');
    const [, reply] = await Promise.all([
      identified.then((id) => {
        this.#connection = id === undefined ? undefined : String(id);
      }),
      this.#blocking(
        'XREADGROUP',
        'GROUP',
        GROUP,
        this.#consumer,
        'COUNT',
        BATCH,
        'BLOCK',
        BLOCK,
        'STREAMS',
        this.#stream,
        '>',
      ),
    ]);
    if (reply === null) return [];
    return ((reply as RespReply[])[0] as [Buffer, Entry[]])[1];
  }

  /** Takes over what an instance has read and, having died or failed, not finished: this one's own too. */
  async #claim(): Promise<void> {
    for (let cursor = '0-0'; !this.#isStopped; ) {
      const reply = (await this.#optional(
        this.#blocking('XAUTOCLAIM', this.#stream, GROUP, this.#consumer, CLAIM_IDLE, cursor, 'COUNT', BATCH),
        'what an instance leaves unfinished stays so',
      )) as [Buffer, Entry[]] | undefined;
      if (reply === undefined) break;
      await this.#handle(reply[1]);
      cursor = String(reply[0]);
      if (cursor !== '0-0') continue;
      await this.#gather();
      break;
    }
    const consumers = (await this.#optional(
      this.#command('XINFO', 'CONSUMERS', this.#stream, GROUP),
      'consumers of instances that are gone stay listed',
    )) as RespReply[][] | undefined;
    for (const consumer of consumers ?? []) {
      const about = new Map<unknown, RespReply>();
      for (let i = 0; i < consumer.length; i += 2) about.set(consumer[i], consumer[i + 1]!);
      if (about.get('pending') === 0 && Number(about.get('idle')) > CONSUMER_IDLE) {
        await this.#command('XGROUP', 'DELCONSUMER', this.#stream, GROUP, String(about.get('name')));
      }
    }
  }

  /** What was read and is nobody's any more is taken as if it came now: its key tells whether it was stored. */
  async #gather(): Promise<void> {
    const call = { script: straysScript, keys: [this.#stream], args: [GROUP, BATCH] };
    const without = 'what was acknowledged and not deleted stays in the stream';
    const strays = (await this.#optional(this.#topology.evaluate(call), without)) as string[] | undefined;
    if (strays === undefined || strays.length === 0) return;
    const claimed = this.#blocking(
      'XCLAIM',
      this.#stream,
      GROUP,
      this.#consumer,
      0,
      ...strays.map(String),
      'FORCE',
    );
    const entries = (await this.#optional(claimed, without)) as (Entry | null)[] | undefined;
    await this.#handle(entries?.filter((entry) => entry !== null) ?? []);
  }

  async #handle(entries: Entry[]): Promise<void> {
    let left = entries;
    for (let round = 0; left.length > 0 && !this.#isStopped; round++) {
      // What still fails stays pending, to be claimed again, so that it holds up nothing for ever.
      if (round === ROUNDS) return;
      if (round > 0) await this.#pause();
      const finished = await Promise.all(left.map((entry) => this.#take(entry)));
      const ids = finished.filter((id) => id !== undefined);
      left = left.filter((_, i) => finished[i] === undefined);
      if (ids.length === 0) continue;
      await this.#topology.evaluate({
        script: finishScript,
        keys: [this.#stream],
        args: [GROUP, ...ids],
      });
    }
  }

  /** Returns the entry's id when it is finished with. */
  async #take([idBytes, fields]: Entry): Promise<string | undefined> {
    const id = String(idBytes);
    // Deleted while it was pending.
    if (fields === null) return id;
    try {
      await this.#store(parse(id, fields));
      this.#faults.over(`${this.#stream} entry`);
      return id;
    } catch (error) {
      if (!isFinal(error)) {
        this.#faults.met(
          `${this.#stream} entry`,
          `an entry of ${this.#stream} can't be stored yet: ${String(error)}`,
          { event: 'intake-entry-waits', stream: this.#stream, error: String(error) },
        );
        return undefined;
      }
      return this.#reject(id, error.message, fields);
    }
  }

  /** Returns the entry's id once it is moved aside. */
  async #reject(id: string, reason: string, fields: Buffer[]): Promise<string | undefined> {
    const key = `${this.#stream}:rejected`;
    const entry = ['*', 'reason', reason, ...fields];
    try {
      await this.#topology.command(key, ['XADD', key, 'MAXLEN', '~', MAX_REJECTED, ...entry]);
      this.#faults.over(key);
      return id;
    } catch (error) {
      this.#faults.met(key, `an entry of ${this.#stream} can't be moved to ${key}: ${String(error)}`, {
        event: 'intake-entry-stays',
        stream: this.#stream,
        error: String(error),
      });
      return undefined;
    }
  }

  async #createGroup(): Promise<void> {
    try {
      // From the beginning: what was added before the first instance came counts as well.
      await this.#command('XGROUP', 'CREATE', this.#stream, GROUP, '0', 'MKSTREAM');
    } catch (error) {
      if (!(error instanceof RedisReplyError) || error.prefix !== 'BUSYGROUP') throw error;
    }
  }

  async #leave(): Promise<void> {
    const pending = (await this.#command(
      'XPENDING',
      this.#stream,
      GROUP,
      '-',
      '+',
      1,
      this.#consumer,
    )) as RespReply[];
    // Removing a consumer forgets what it has pending, so that nobody would claim it.
    if (pending.length === 0)
      await this.#command('XGROUP', 'DELCONSUMER', this.#stream, GROUP, this.#consumer);
  }

  #command(name: string, ...args: (string | number)[]): Promise<RespReply> {
    return this.#topology.command(this.#stream, [name, ...args]);
  }

  #blocking(name: string, ...args: (string | number)[]): Promise<RespReply> {
    return this.#topology.blocking('intake', this.#stream, [name, ...args]);
  }

  #pause(): Promise<void> {
    return pause(PAUSE, this.#stopping.signal);
  }
}

/** @throws {TypeError} for an entry that is none */
function parse(id: string, fields: Buffer[]): IntakeMessage {
  const values = new Map<string, Buffer>();
  for (let i = 0; i + 1 < fields.length; i += 2) values.set(String(fields[i]), fields[i + 1]!);
  const channel = values.get('channel')?.toString();
  const payload = values.get('data');
  const kind = values.get('kind')?.toString() ?? 'text';
  if (channel === undefined || channel === '') throw new TypeError('the entry has no field "channel"');
  if (payload === undefined) throw new TypeError('the entry has no field "data"');
  if (!PAYLOAD_KINDS.includes(kind)) throw new TypeError(`"kind" must be one of ${PAYLOAD_KINDS.join(', ')}`);
  if (kind === 'json' && !isJson(payload)) throw new TypeError('"data" is not JSON');
  const ttl = values.get('ttl')?.toString();
  if (ttl !== undefined && !/^[1-9]\d{0,14}$/.test(ttl))
    throw new TypeError('"ttl" is no whole number of milliseconds, from 1');
  const replaces = values.get('replaces')?.toString();
  const traceparent = values.get('traceparent')?.toString();
  const tracestate = values.get('tracestate')?.toString();
  return {
    channel,
    kind: kind as PayloadKind,
    payload,
    idempotencyKey: values.get('key')?.toString() ?? `in:${id}`,
    ...(ttl !== undefined && { ttl: Number(ttl) }),
    ...(replaces !== undefined && { replaces }),
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
  };
}

function isJson(payload: Buffer): boolean {
  try {
    JSON.parse(payload.toString());
    return true;
  } catch {
    return false;
  }
}
