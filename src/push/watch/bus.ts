/**
 * What instances say to one another for operators: questions to all, answers to the one that asks. At most once, and
 * nothing rests on it: who asks waits for a bounded time, and asks again.
 */
import { randomBytes } from 'node:crypto';
import type { Broker } from '../../pubsub/store/broker.ts';
import type { Doorbell } from '../delivery/router.ts';

/** No topic and no user has a name with a line break. */
const CHANNEL = 'watch\n';

export type Said = Partial<Record<string, unknown>>;

export class WatchBus {
  /** What this instance listens to at the broker: what is said to all, and to it alone. */
  readonly doorbells: readonly Doorbell[];
  /** Of this process: two instances may have one name. */
  readonly address = randomBytes(9).toString('base64url');
  readonly #broker: Pick<Broker, 'notify'>;
  readonly #kinds = new Map<string, (said: Said, from: string) => void>();

  constructor(broker: Pick<Broker, 'notify'>) {
    this.#broker = broker;
    const heard = (payload: Buffer): void => this.#heard(payload);
    this.doorbells = [
      { channel: CHANNEL, heard },
      { channel: CHANNEL + this.address, heard },
    ];
  }

  /** Who takes what is said of a kind. */
  on(kind: string, take: (said: Said, from: string) => void): void {
    this.#kinds.set(kind, take);
  }

  /** To all instances, this one among them, which hears it also while the store is away. */
  tellAll(kind: string, said: object): void {
    this.#take(kind, JSON.parse(JSON.stringify(said)), this.address);
    this.#say(CHANNEL, kind, said);
  }

  tell(address: string, kind: string, said: object): void {
    if (address === this.address) this.#take(kind, JSON.parse(JSON.stringify(said)), address);
    else this.#say(CHANNEL + address, kind, said);
  }

  #say(channel: string, kind: string, said: object): void {
    const payload = Buffer.from(JSON.stringify({ kind, from: this.address, said }));
    // Where the store is away, that is told elsewhere.
    this.#broker.notify(channel, payload).catch(() => {});
  }

  /** Anybody may PUBLISH there. */
  #heard(payload: Buffer): void {
    let message: { kind?: unknown; from?: unknown; said?: unknown } | null;
    try {
      message = JSON.parse(payload.toString());
    } catch {
      // Of no instance.
      return;
    }
    const { kind, from, said } = message ?? {};
    if (typeof kind !== 'string' || typeof from !== 'string' || typeof said !== 'object' || said === null)
      return;
    if (from !== this.address && /^[\w-]{12}$/.test(from)) this.#take(kind, said, from);
  }

  #take(kind: string, said: Said, from: string): void {
    this.#kinds.get(kind)?.(said, from);
  }
}
