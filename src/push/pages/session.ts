/**
 * One open page: a transport, whose user is known, in plain mode or `tidings.1`. Whatever goes to the page
 * goes through here, so that its outbox stays within bounds.
 */
import { monotonicNow } from '../../clock.ts';
import type { Attributes, Transport } from '../../server/transport.ts';
import {
  encodeData,
  encodeFrame,
  type Frame,
  type Outgoing,
  OutgoingTransient,
} from '../delivery/outgoing.ts';
import type { Recipient, Subscription } from '../delivery/subscription.ts';
import { inboxOf, wireName } from '../talk/names.ts';
import { type ChannelState, CloseCode, type ServerFrame, SUBPROTOCOL } from '../talk/wire.ts';

export class Session implements Recipient {
  /** Unique over all instances. */
  readonly id: string;
  readonly user: string;
  /** The client's address, as trusted proxies tell it. */
  readonly address: string;
  /** Milliseconds since 1970. */
  readonly since = Date.now();
  readonly transport: Transport;
  /** Whether it speaks `tidings.1`; otherwise plain mode. */
  readonly isTidings: boolean;
  /** The client's own id, known after its `hello`. */
  device: string | undefined;
  /** @internal By the broker's channel name; the inbox is one of them. */
  readonly subscriptions = new Map<string, Subscription>();
  /** @internal */
  phase: 'new' | 'greeting' | 'open' | 'closed' = 'new';
  readonly #outboxLimit: number;
  /** Was told that the store is away. */
  #isBehind = false;
  /** The current second of the monotonic clock, and the frames that came in it. */
  #second = 0;
  #frames = 0;

  /** @internal */
  constructor(id: string, user: string, address: string, transport: Transport, outboxLimit: number) {
    this.id = id;
    this.user = user;
    this.address = address;
    this.transport = transport;
    this.isTidings = transport.protocol === SUBPROTOCOL;
    this.#outboxLimit = outboxLimit;
  }

  get attributes(): Attributes {
    return this.transport.attributes;
  }

  /** Bytes that wait for the page to read them. */
  get bufferedAmount(): number {
    return this.transport.bufferedAmount;
  }

  /** To this page only, and at most once: nothing is stored. */
  send(data: unknown): void {
    this.sendTransient(new OutgoingTransient(inboxOf(this.user), encodeData(data).bytes));
  }

  close(code = 1000, reason = ''): void {
    this.transport.close(code, reason);
  }

  /** Cuts the connection. */
  terminate(): void {
    this.transport.terminate();
  }

  /** @internal */
  sendMessage(message: Outgoing): void {
    const frame = this.isTidings ? message.wire : message.plain;
    if (frame !== undefined) this.write(frame);
  }

  /** @internal */
  sendTransient(message: OutgoingTransient): void {
    if (this.isTidings && this.phase !== 'open') return;
    this.write(this.isTidings ? message.wire : message.plain);
  }

  /** @internal */
  sendFrame(frame: ServerFrame): void {
    this.write(encodeFrame(frame));
  }

  /** @internal */
  gap(channel: string, state: ChannelState): void {
    if (this.isTidings) this.sendFrame({ type: 'gap', channel: wireName(channel), ...state });
  }

  /** @internal The store is away. */
  fallBehind(): void {
    if (this.#isBehind || !this.isTidings) return;
    this.#isBehind = true;
    this.sendFrame({ type: 'status', behind: true });
  }

  /** @internal Something has caught up; tells the page once everything has. */
  caughtUp(): void {
    if (!this.#isBehind || this.phase !== 'open') return;
    for (const subscription of this.subscriptions.values()) if (!subscription.isLive) return;
    this.#isBehind = false;
    this.sendFrame({ type: 'status', behind: false });
  }

  /** @internal Checked before a frame, not after it: one message is always let through, however big. */
  write(frame: Frame): void {
    const { transport } = this;
    if (transport.readyState !== 1) return;
    if (transport.bufferedAmount > this.#outboxLimit) {
      transport.close(CloseCode.TOO_SLOW, 'the page reads too slowly');
      return;
    }
    transport.send(frame);
  }

  /** @internal False if it sends more frames a second than `limit`. */
  countFrame(limit: number): boolean {
    const second = Math.floor(monotonicNow() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#frames = 0;
    }
    this.#frames++;
    return limit === 0 || this.#frames <= limit;
  }

  /** @internal */
  end(): void {
    this.phase = 'closed';
    for (const subscription of this.subscriptions.values()) subscription.close();
    this.subscriptions.clear();
  }
}
