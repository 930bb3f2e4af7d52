/**
 * Notices another instance of the same name. Two of them take each other's SockJS sessions for their own, so that their
 * pages never connect.
 */
import { randomBytes } from 'node:crypto';
import type { Log } from '../../log-fields.ts';
import type { Broker } from '../../pubsub/store/broker.ts';

/** No topic and no user has a name with a line break. */
const PREFIX = 'instance\n';

export class InstanceName {
  /** What all instances of this name listen to. */
  readonly channel: string;
  readonly #name: string;
  readonly #broker: Broker;
  readonly #log: Log;
  /** Tells this instance from another of its name. */
  readonly #life = randomBytes(9).toString('base64url');
  #isTold = false;

  constructor(name: string, broker: Broker, log: Log) {
    this.channel = PREFIX + name;
    this.#name = name;
    this.#broker = broker;
    this.#log = log;
  }

  /** Says that this instance is here. Where it can't be said, the store is away, and that is told elsewhere. */
  say(): void {
    this.#broker.notify(this.channel, Buffer.from(this.#life)).catch(() => {});
  }

  /** Something was said on `channel`. */
  heard(payload: Buffer): void {
    const life = payload.toString();
    if (!/^[\w-]{12}$/.test(life) || life === this.#life || this.#isTold) return;
    this.#isTold = true;
    this.#log('error', `another instance is named ${this.#name}, too: give each a name of its own`, {
      event: 'instance-name-taken',
    });
    // The other one is to know, too.
    this.say();
  }
}
