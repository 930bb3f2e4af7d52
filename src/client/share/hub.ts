/**
 * The server's part towards the tabs that share a connection. The leader has the only one; to each tab, itself among
 * them, its hub is the server. It judges nothing: a tab that comes is subscribed anew from its own positions, so that the
 * server says what became of them, and sends again what the tab has not had. The others drop that.
 */
import {
  BROADCAST,
  type ClientFrame,
  CloseCode,
  type ErrorFrame,
  type Hello,
  INBOX,
  type ServerFrame,
  type Subscribe,
  type Subscribed,
  type Welcome,
  type WirePosition,
} from '../../push/talk/wire.ts';
import { encode } from '../encode.ts';
import { isFinal, TOO_BIG } from '../reconnect.ts';
import type { Transport, TransportFactory } from '../transport.ts';
import { ANEW, ENDED, type Saying } from './words.ts';

/** The `ref` of frames that no tab waits for; those of subscriptions begin so. */
const BESIDES = 'hub';
/** Milliseconds of silence after which the server is asked, at least; longer where it has had nothing to say for long. */
const QUIET = 500;
/** Milliseconds, at least, that the server has for its answer. */
const PATIENCE = 1_000;
/** Milliseconds that a tab may take until it dials, where another one waits. Tabs that wait ask every half second. */
const SLOW = 900;

interface Guest {
  id: string;
  hello: Hello;
  /** It was welcomed. */
  isIn?: boolean;
  /** Channels that it is on, or has asked for; and whether it wants to know who is there. */
  on: Map<string, boolean>;
  /** Stops looking after it. */
  free: (() => void) | undefined;
}

export interface HubUser {
  say(saying: Saying): void;
  /** Where to dial, with a ticket of now. */
  address(): Promise<[url: string, protocols: string[]]>;
  /** There is no ticket, or it can't be dialled so. */
  failed(error: unknown): void;
  /** The server has said who the user is. */
  named(user: string): void;
  /** Calls `gone` once this tab is. Returns what ends that. */
  mourn(tab: string, gone: () => void): () => void;
  /** The connection is dead, as far as can be known. */
  dead(): void;
  /** `address` takes long, and another tab waits. */
  slow(): void;
}

export type Hub = ReturnType<typeof createHub>;

/** @param own the tab that it is in */
export function createHub(dial: TransportFactory, own: string, user: HubUser) {
  const guests = new Map<string, Guest>();
  /** Where the stream of each channel is. */
  const lasts = new Map<string, WirePosition>();
  /** Topics that the application has given. */
  const given = new Set<string>();
  /**
   * Subscriptions without an answer, oldest first, each with the `ref` of its frame; those of a hello have none. Of no tab:
   * the stream goes back to where it was.
   */
  const asked: [channel: string, tab: string, ref?: string][] = [];
  let refs = 0;
  /** Whose, and how long, is what else has no answer yet; by `ref`. */
  const underWay = new Map<unknown, [tab: string, length: number]>();
  let transport: Transport | undefined;
  let isOpen = false;
  let isOver = false;
  let welcome: Welcome | undefined;
  let status = '';
  /** How far any device of the user has acknowledged. */
  let acked: WirePosition | undefined;
  /** The newest acknowledgement, and whether the server has it. */
  let ack: WirePosition | undefined;
  let isAcked = true;
  /** When the server was last heard, and when it last said anything but `pong`. */
  let heard = Date.now();
  let moved = heard;
  let pinged = 0;
  let roundTrip = 0;

  const send = (frame: object): void => transport?.send(encode(frame));
  const say = (...saying: Saying): void => {
    if (!isOver) user.say(saying);
  };

  // ── the connection ───────────────────────────────────────────────────────────────────────────────────

  const start = async (): Promise<void> => {
    try {
      const [url, protocols] = await user.address();
      if (isOver) return;
      transport = dial(url, protocols, {
        open() {
          isOpen = true;
          greet();
        },
        message: received,
        close: closed,
      });
    } catch (error) {
      if (!isOver) user.failed(error);
    }
  };

  const greet = (): void => {
    const me = guests.get(own);
    if (!isOpen || !me) return;
    pinged = Date.now();
    send(me.hello);
  };

  const closed = (code: number, reason: string): void => {
    // A frame that no server takes is one tab's, and not of the tab that happens to lead: the longest, most likely.
    const isFrame = code === TOO_BIG || code === CloseCode.MALFORMED;
    const [[culprit] = []] = isFrame ? [...underWay.values()].sort(([, a], [, b]) => b - a) : [];
    // Who is refused, or whose ticket is over, does not take others along.
    const isOwn =
      code === CloseCode.NOT_AUTHENTICATED || code === CloseCode.FORBIDDEN || (!welcome && isFinal(code));
    // The others may be refused, too, and then this is why.
    if (isOwn && welcome) say('', -code, reason);
    say(culprit ?? (isOwn ? own : ''), code, reason);
    if (culprit && culprit !== own) user.dead();
    stop();
  };

  const stop = (): void => {
    isOver = true;
    for (const { free } of guests.values()) free?.();
  };

  const ping = (): void => {
    if (!welcome || pinged) return;
    pinged = Date.now();
    send({ type: 'ping' });
    setTimeout(check, patience());
  };

  const patience = (): number => PATIENCE + 3 * roundTrip;

  /** Asks the server where it has been silent for long. Called again and again, as timers may stand still. */
  const check = (): void => {
    const now = Date.now();
    if (isOver) return;
    if (!transport) {
      if (now - heard > SLOW) user.slow();
    } else if (!pinged) {
      if (now - heard > QUIET + (now - moved) / 4) ping();
    } else if (welcome && now - pinged >= patience()) user.dead();
  };

  // ── what the server says ─────────────────────────────────────────────────────────────────────────────

  const received = (data: unknown): void => {
    heard = Date.now();
    const text = data as string;
    try {
      obey(JSON.parse(text), text);
    } catch {
      // What is wrong with it, the client of this tab will say.
      say(own, text);
    }
  };

  const obey = (frame: ServerFrame, text: string): void => {
    const { type } = frame;
    const { channel, ref } = frame as { channel?: string; ref?: string };
    const name = channel as string;
    const owner = underWay.get(ref);
    if (type === 'pong' || type === 'welcome') {
      roundTrip = heard - pinged;
      pinged = 0;
    }
    if (type !== 'pong') moved = heard;
    if (owner) {
      underWay.delete(ref);
      say(owner[0], text);
    } else if (type === 'message') {
      const last = lasts.get(name);
      // A topic that no tab is on any more; or it comes again.
      if (!last || asked.some(([each, tab]) => each === name && !tab)) return;
      const { epoch, offset, id } = frame;
      const position = { epoch, offset, id };
      lasts.set(name, position);
      say('', text, name, last.offset, position);
      if (name === INBOX) acknowledge();
    } else if (type === 'welcome') welcomed(frame, text);
    else if (type === 'subscribed') subscribed(frame, text);
    else if (type === 'unsubscribed') {
      if (frame.reason) ended(name, frame.reason, text);
    } else if (ref === BESIDES) {
      // Of a topic that no tab is on any more nobody need know.
      if (name === INBOX) say(own, text);
    } else if (type === 'error' && channel && frame.code !== 'no-presence') ended(name, '', text, frame);
    else if (channel && (type === 'presence' || type === 'error')) {
      for (const { id, on } of guests.values())
        if (on.get(name)) {
          // What is refused is not asked for again on behalf of others.
          if (type === 'error') on.set(name, false);
          say(id, text);
        }
    } else {
      const isAll = type === 'pong' || type === 'status';
      if (type === 'status') status = text;
      if (type === 'acked') acked = frame.position;
      if (type === 'gap') lasts.set(name, frame.position);
      say(
        channel || isAll ? '' : own,
        text,
        name === BROADCAST ? undefined : channel,
        undefined,
        type === 'gap' ? frame.position : undefined,
      );
    }
  };

  const welcomed = (frame: Welcome, text: string): void => {
    const me = guests.get(own) as Guest;
    const { channels } = frame;
    const { on } = me;
    welcome = frame;
    acked = channels[INBOX]?.acked;
    me.isIn = true;
    user.named(frame.user);
    // Errors say why not.
    for (const name of on.keys()) if (!channels[name]) asked.push([name, own]);
    for (const [name, { position }] of Object.entries(channels)) {
      if (!on.has(name)) given.add(name);
      on.set(name, false);
      lasts.set(name, position);
      say(own, '', name, undefined, position);
    }
    say(own, text);
    for (const guest of guests.values()) if (guest !== me) join(guest, INBOX);
  };

  const subscribed = (frame: Subscribed, text: string): void => {
    const { channel, position } = frame;
    const last = lasts.get(channel);
    const tab = answer(channel, frame);
    lasts.set(channel, position);
    if (tab === undefined) {
      given.add(channel);
      for (const { id, on } of guests.values()) {
        on.set(channel, on.get(channel) ?? false);
        say(id, text, channel, undefined, position);
      }
      return;
    }
    const guest = guests.get(tab);
    if (guest?.on.has(channel)) {
      if (last && isBehind(last, position)) {
        // The others are to have what is between.
        lasts.set(channel, last);
        subscribe('', { type: 'subscribe', channel, position: last });
      }
      say(tab, '', channel, undefined, position);
      if (guest.isIn) say(tab, text);
      else if (channel === INBOX) {
        guest.isIn = true;
        // Tickets are the leader's matter.
        const ends = tab === own ? {} : { expires: undefined, expiresIn: undefined };
        say(tab, encode({ ...welcome, ...ends, channels: { [INBOX]: { acked, ...frame } } }));
        if (status) say(tab, status);
        for (const name of new Set([...guest.on.keys(), ...given])) if (name !== INBOX) join(guest, name);
      }
    }
    tidy(channel);
  };

  /** Whose subscription this is the answer to. */
  const answer = (channel: string, { ref }: { ref?: string }): string | undefined => {
    const index = asked.findIndex(([name, , its]) => name === channel && its === ref);
    return index < 0 ? undefined : asked.splice(index, 1)[0]?.[1];
  };

  /** A subscription has ended, or was refused, which ends what there was of it. */
  const ended = (channel: string, reason: string, text: string, error?: ErrorFrame): void => {
    const tab = error && answer(channel, error);
    // Another tab was subscribed in its place.
    if (tab && channel === INBOX && error.code === 'unavailable') {
      say(tab, ANEW);
      return;
    }
    guests.get(tab as string)?.on.delete(channel);
    if (tab ?? channel === INBOX) say(tab || own, text);
    if (channel === INBOX || !lasts.delete(channel)) return;
    given.delete(channel);
    // For want of one tab's ticket: the others ask for themselves.
    const isOne = tab !== undefined || reason === 'expired' || asked.some(([name]) => name === channel);
    for (const { id, on } of guests.values())
      if (on.delete(channel)) {
        if (isOne && guests.size > 1) say(id, ANEW);
        else say(id, text, channel, ENDED);
      }
  };

  const acknowledge = (): void => {
    const last = lasts.get(INBOX);
    // Not before it was sent on this connection.
    if (isAcked || !ack || !last || ack.epoch !== last.epoch || ack.offset > last.offset) return;
    isAcked = true;
    send({ type: 'ack', channel: INBOX, position: ack, ref: BESIDES });
  };

  // ── what tabs say ────────────────────────────────────────────────────────────────────────────────────

  const ask = ({ id, on }: Guest, channel: string, frame: Subscribe): void => {
    on.set(channel, frame.presence ?? on.get(channel) ?? false);
    subscribe(id, frame);
  };

  /** What begins anew at the server is told to nobody but who asks: for all tabs that want to know who is there. */
  const subscribe = (tab: string, frame: Subscribe): void => {
    const { channel } = frame;
    const ref = `${BESIDES}${++refs}`;
    const isWanted = [...guests.values()].some(({ on }) => on.get(channel));
    asked.push([channel, tab, ref]);
    send({ ...frame, presence: isWanted || undefined, ref });
  };

  const join = (guest: Guest, channel: string): void => {
    const { positions, start } = guest.hello;
    ask(guest, channel, {
      type: 'subscribe',
      channel,
      ...(positions?.[channel] && { position: positions[channel] }),
      ...(start && { start }),
    });
  };

  /** Of a topic that no tab is on any more nothing is to come. */
  const tidy = (channel: string): void => {
    for (const { on } of guests.values()) if (on.has(channel)) return;
    if (lasts.delete(channel)) send({ type: 'unsubscribe', channel, ref: BESIDES });
  };

  const gone = (id: string): void => {
    const guest = guests.get(id);
    guests.delete(id);
    guest?.free?.();
    for (const name of guest?.on.keys() ?? []) tidy(name);
  };

  void start();

  return {
    /** The tabs that it speaks to, its own among them. */
    guests: (): Iterable<string> => guests.keys(),
    check,
    ping,

    /** A frame of a tab; empty: it has gone. @throws for what is none */
    take(id: string, text: string): void {
      const guest = guests.get(id);
      if (!text) {
        gone(id);
        return;
      }
      const frame = JSON.parse(text) as ClientFrame;
      const { type } = frame;
      if (type === 'hello') {
        const { topics = [], positions = {} } = frame;
        const names = [INBOX, ...topics, ...Object.keys(positions)];
        const on = new Map(names.map((name) => [name, false]));
        guest?.free?.();
        const free = id === own ? undefined : user.mourn(id, () => gone(id));
        const added: Guest = { id, hello: frame, on, free };
        guests.set(id, added);
        if (welcome) join(added, INBOX);
        else if (id === own) greet();
      } else if (!guest) say(id, ANEW);
      else if (type === 'ping') ping();
      else if (type === 'ack') {
        const { position } = frame;
        if (ack?.epoch === position.epoch && !isBehind(ack, position)) return;
        ack = position;
        isAcked = false;
        acknowledge();
      } else if (type === 'subscribe') ask(guest, frame.channel, frame);
      else if (type === 'unsubscribe') {
        const { channel } = frame;
        guest.on.delete(channel);
        say(id, JSON.stringify({ type: 'unsubscribed', channel }), channel, ENDED);
        tidy(channel);
      } else {
        if (frame.ref) underWay.set(frame.ref, [id, text.length]);
        send(frame);
      }
    },

    close(code?: number, reason?: string): void {
      stop();
      transport?.close(code, reason);
    },
  };
}

function isBehind(a: WirePosition, b: WirePosition): boolean {
  return a.epoch === b.epoch && a.offset < b.offset;
}
