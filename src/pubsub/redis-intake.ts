/**
 * Messages from programs that are no push server: whatever can XADD to the stream `<prefix>:in` sends durably,
 * with no offset to know. The instances share the stream as one consumer group and publish what they read, with
 * the entry's id as idempotency key, so that an entry is stored once even where an instance dies half-way.
 *
 * An entry has the fields `channel` and `data`, and optionally `kind` (`text`, which is the default, `json`,
 * `binary` or `reference`) and `key` (an idempotency key of the program's own).
 */
import { clearTimeout, monotonicNow, setTimeout } from '../clock.ts';
import type { IntakeMessage, PayloadKind } from './broker.ts';
import { randomId } from './random-id.ts';
import { RedisReplyError } from './redis-errors.ts';
import type { RedisTopology } from './redis-topology.ts';
import type { RespReply } from './resp-reader.ts';

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
const KINDS: readonly string[] = ['text', 'json', 'binary', 'reference'] satisfies PayloadKind[];

type Entry = [id: Buffer, fields: Buffer[] | null];

export class RedisIntake {
  readonly #topology: RedisTopology;
  readonly #stream: string;
  readonly #store: (message: IntakeMessage) => Promise<unknown>;
  readonly #consumer = randomId(9);
  #connection: string | undefined;
  #isStopped = false;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #nextClaim = 0;

  /** @param store rejects with a TypeError or RangeError what can never be stored */
  constructor(topology: RedisTopology, prefix: string, store: (message: IntakeMessage) => Promise<unknown>) {
    this.#topology = topology;
    this.#stream = `${prefix}:in`;
    this.#store = store;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Finishes what was read, and leaves nothing in this consumer's name. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake?.();
    if (this.#connection !== undefined) {
      // Without it, the read would end by itself a little later.
      this.#command('CLIENT', 'UNBLOCK', this.#connection).catch(() => {});
    }
    // Where Redis is away or hangs, what is left is for others to claim.
    let timer: NodeJS.Timeout | undefined;
    const overdue = new Promise((resolve) => {
      timer = setTimeout(resolve, STOP_TIMEOUT);
    });
    await Promise.race([this.#running, overdue]);
    clearTimeout(timer);
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
      } catch (error) {
        this.#connection = undefined;
        if (error instanceof RedisReplyError && error.prefix === 'NOGROUP') {
          await this.#createGroup().catch(() => this.#pause());
        } else {
          await this.#pause();
        }
      }
    }
    await this.#leave().catch(() => {});
  }

  async #read(): Promise<Entry[]> {
    const [, reply] = await Promise.all([
      this.#blocking('CLIENT', 'ID').then((id) => {
        this.#connection = String(id);
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
      const reply = (await this.#blocking(
        'XAUTOCLAIM',
        this.#stream,
        GROUP,
        this.#consumer,
        CLAIM_IDLE,
        cursor,
        'COUNT',
        BATCH,
      )) as [Buffer, Entry[]];
      await this.#handle(reply[1]);
      cursor = String(reply[0]);
      if (cursor === '0-0') break;
    }
    for (const consumer of (await this.#command(
      'XINFO',
      'CONSUMERS',
      this.#stream,
      GROUP,
    )) as RespReply[][]) {
      const about = new Map<unknown, RespReply>();
      for (let i = 0; i < consumer.length; i += 2) about.set(consumer[i], consumer[i + 1]!);
      if (about.get('pending') === 0 && Number(about.get('idle')) > CONSUMER_IDLE) {
        await this.#command('XGROUP', 'DELCONSUMER', this.#stream, GROUP, String(about.get('name')));
      }
    }
  }

  async #handle(entries: Entry[]): Promise<void> {
    const finished = await Promise.all(entries.map((entry) => this.#take(entry)));
    const ids = finished.filter((id) => id !== undefined);
    if (ids.length === 0) return;
    await this.#command('XACK', this.#stream, GROUP, ...ids);
    await this.#command('XDEL', this.#stream, ...ids);
    // What failed stays pending, to be claimed again; not in a tight loop.
    if (ids.length < entries.length) await this.#pause();
  }

  /** Returns the entry's id when it is finished with. */
  async #take([idBytes, fields]: Entry): Promise<string | undefined> {
    const id = String(idBytes);
    // Deleted while it was pending.
    if (fields === null) return id;
    try {
      await this.#store(parse(id, fields));
      return id;
    } catch (error) {
      if (!(error instanceof TypeError) && !(error instanceof RangeError)) return undefined;
      await this.#reject(error.message, fields);
      return id;
    }
  }

  async #reject(reason: string, fields: Buffer[]): Promise<void> {
    const key = `${this.#stream}:rejected`;
    await this.#topology.command(key, [
      'XADD',
      key,
      'MAXLEN',
      '~',
      MAX_REJECTED,
      '*',
      'reason',
      reason,
      ...fields,
    ]);
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
    if (this.#isStopped) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, PAUSE);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
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
  if (!KINDS.includes(kind)) throw new TypeError(`"kind" must be one of ${KINDS.join(', ')}`);
  if (kind === 'json' && !isJson(payload)) throw new TypeError('"data" is not JSON');
  return {
    channel,
    kind: kind as PayloadKind,
    payload,
    idempotencyKey: values.get('key')?.toString() ?? `in:${id}`,
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
