/**
 * What is said over a connection, in the frames of the `tidings.1` subprotocol (docs/wire.md) or in plain mode: from the
 * greeting to what becomes of each frame.
 */
import {
  type ClientFrame,
  CloseCode,
  type ErrorFrame,
  type Gap,
  type Hello,
  INBOX,
  SUBPROTOCOL,
  type Subscribed,
  type Welcome,
  type WireMessage,
  type WirePosition,
} from '../push/talk/wire.ts';
import { createAcks } from './acks.ts';
import { createChannels } from './channels.ts';
import { createConnection } from './connection.ts';
import { encode } from './encode.ts';
import type { CloseEvent, ConnectionState, Emit, Message } from './events.ts';
import { type Frames, type KnownFrames, readFrame } from './frames.ts';
import { createIdentity } from './identity.ts';
import type { ConnectOptions } from './options.ts';
import type { Part } from './part.ts';
import { isFinal, NONSENSE } from './reconnect.ts';
import { createRetry } from './retry.ts';
import { pageStorage } from './storage.ts';
import { createTopics, refusal } from './topics.ts';
import { textOf, webSocketTransport } from './transport.ts';

const STRANGE = 'the server sent no frame of tidings.1';

/** Close codes after which the client stays away, as `error` events call them. */
const FINAL: Record<number, string> = {
  [CloseCode.MALFORMED]: 'malformed',
  [CloseCode.NOT_AUTHENTICATED]: 'not-authenticated',
  [CloseCode.FORBIDDEN]: 'forbidden',
  [CloseCode.REPLACED]: 'replaced',
};

/** The text of a frame, once its turn has come. What has nothing to say any more by then returns undefined. */
export type Turn = () => string | undefined;

export type Talk = ReturnType<typeof createTalk>;

/** @throws {TypeError} where `options.url` is not one; {Error} where there is no WebSocket */
export function createTalk(options: ConnectOptions, emit: Emit) {
  const { plain } = options;
  const url = new URL(options.url ?? '/socketServer', globalThis.location?.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.hash = '';
  if (options.user !== undefined) url.searchParams.set(options.userParameter ?? 'operator', options.user);

  let isWelcome = false;
  let opens = 0;

  const parts: Part[] = [];
  const each = <T>(call: (part: Part) => T): T[] => parts.map(call);

  const identity = createIdentity(options, options.storage ?? pageStorage(), (isAnother) =>
    each((part) => part.loaded?.(isAnother)),
  );
  /** What is sent, and when: a part may see to that it is not too much at once. */
  const says = {
    /** What can't wait. */
    now(text: string | undefined): void {
      if (text) connection.send(text);
    },
    /** In its turn, or as the next. */
    inTurn: (turn: Turn, _isNext?: boolean): void => says.now(turn()),
  };
  const say = (turn: Turn, isNext?: boolean): void => {
    if (isWelcome) says.inTurn(turn, isNext);
  };
  const retry = createRetry();
  const send = (frame: ClientFrame): void => say(() => encode(frame));
  const tell = (code: string, message: string, channel?: string): void => {
    emit('error', { code, message, ...(channel !== undefined && { channel }) });
  };

  const failed = (error: unknown): void => tell('connect', textOf(error));

  // ── acknowledgements ─────────────────────────────────────────────────────────────────────────────────

  const ackFrame = (): string | undefined => {
    const position = acks.take();
    return position && encode({ type: 'ack', channel: INBOX, position } satisfies ClientFrame);
  };
  const acks = createAcks(options.ackDelay ?? 200, () => say(ackFrame, true));
  /** What can't wait for its turn: the page may be about to end. */
  const flush = (): void => {
    const frame = ackFrame();
    if (isWelcome) says.now(frame);
  };
  const leave = (): void => {
    flush();
    each((part) => part.left?.());
  };
  const ack = (channel: string, position: WirePosition): void => {
    if (channel !== INBOX || identity.device === undefined) return;
    const seen = channels.known(INBOX);
    // Of a log that is gone, or not from here.
    if (seen?.epoch === position.epoch && position.offset <= seen.offset) acks.add(position, isWelcome);
  };
  const channels = createChannels((channel, position) => {
    each((part) => part.handled?.(channel, position));
    if (options.ack !== 'manual') ack(channel, position);
  });

  // ── from greeting to welcome ─────────────────────────────────────────────────────────────────────────

  const greet = (): void => {
    if (plain) {
      connection.established();
      opened({});
      return;
    }
    const { start } = options;
    const hello: Hello = {
      type: 'hello',
      device: identity.device,
      start: start === 'beginning' ? undefined : start,
      ...topics.greet(),
    };
    each((part) => part.hello?.(hello));
    topics.greeted(hello.topics ?? []);
    says.now(encode(hello));
  };

  const welcomed = (frame: Welcome): void => {
    if (isWelcome) {
      nonsense();
      return;
    }
    if (identity.confirm(frame.user)) {
      channels.clear();
      acks.clear();
      connection.redial();
      return;
    }
    isWelcome = true;
    connection.established(frame.heartbeat);
    opened(frame);
    topics.welcome(frame.channels);
    acks.again();
    each((part) => part.welcome?.(frame));
  };

  const opened = ({
    session = '',
    instance = '',
    user = '',
    channels = {},
  }: Partial<Pick<Welcome, 'session' | 'instance' | 'user' | 'channels'>>): void => {
    emit('open', { session, instance, user, channels, resumed: opens++ > 0 });
  };

  // ── frames ───────────────────────────────────────────────────────────────────────────────────────────

  const took = (frame: WireMessage): void => {
    const { channel, data, epoch, offset, id, time, reference, unresolved, gone } = frame;
    const position = { epoch, offset, id };
    const isKnown = channels.advance(channel, position);
    if (isKnown === undefined) return;
    each((part) => part.message?.(frame));
    if (isKnown) return;
    const message: Message = {
      channel,
      data,
      position,
      id,
      time,
      ...(reference && { reference }),
      ...(unresolved && { unresolved }),
    };
    // Of one that is gone nobody is told, and it is done with.
    channels.handed(channel, position, gone ? [gone] : emit('message', message));
  };

  const refused = (frame: ErrorFrame): void => {
    const { code, message, channel } = frame;
    const error = refusal(code, message);
    if (each((part) => part.refused?.(frame, error)).includes(true)) return;
    if (channel === undefined || !topics.refused(channel, code, error)) tell(code, message, channel);
  };

  /** Of a topic, unless the page has just left it. */
  const here =
    <Frame extends { channel: string }>(take: (frame: Frame) => unknown) =>
    (frame: Frame): unknown =>
      topics.isLeaving(frame.channel) || take(frame);
  const begun = here((frame: Subscribed | Gap) => topics.begin(frame.channel, frame));

  const own: Frames = {
    message: ['channel epoch offset id time data', here(took)],
    transient: ['channel data', here(({ channel, data }) => emit('message', { channel, data }))],
    welcome: ['session instance user channels', welcomed],
    subscribed: ['channel position recovered', begun],
    gap: ['channel position recovered', begun],
    unsubscribed: ['channel', ({ channel, reason }) => topics.unsubscribed(channel, reason)],
    acked: [
      'channel device position',
      ({ channel, device, position }) => emit('acked', { channel, device, position }),
    ],
    status: [
      'behind',
      ({ behind }) => {
        connection.alive();
        emit('status', { behind });
      },
    ],
    drain: ['window', ({ window }) => connection.drain(window)],
    pong: ['type', () => connection.answered()],
    error: ['code message', refused],
  };
  const frames: KnownFrames = new Map(Object.entries(own));

  /** What it was can't be known: come back and continue from the last position. */
  const nonsense = (): void => {
    connection.lost(NONSENSE, STRANGE);
    tell('malformed', STRANGE);
  };

  const received = (data: unknown): void => {
    if (plain) {
      if (data === 'hb_ok') connection.answered();
      else emit('message', { channel: '', data });
      return;
    }
    const take = readFrame(data, frames);
    if (take === undefined) nonsense();
    else if (take) take();
    else tell('unknown-type', STRANGE);
  };

  // ── the connection ───────────────────────────────────────────────────────────────────────────────────

  const changed = (state: ConnectionState): void => {
    if (state.name !== 'connected') {
      const code = (state as { code?: number }).code;
      acks.take();
      retry.stop();
      isWelcome = false;
      each((part) => part.lost?.(code));
      topics.lost();
    }
    if (state.name === 'closed') {
      const error = new Error(`closed: ${state.code} ${state.reason}`.trimEnd());
      topics.lost(error);
      each((part) => part.closed?.(error));
    }
    emit('state', state);
  };

  const closed = (event: CloseEvent): void => {
    emit('close', event);
    const { code, reason } = event;
    if (event.willReconnect || !isFinal(code)) return;
    if (code !== CloseCode.MALFORMED && code !== CloseCode.REPLACED) emit('signed-out', { code, reason });
    tell(FINAL[code] ?? 'closed', reason || `closed with ${code}`);
  };

  const connection = createConnection(
    options,
    url,
    plain ? [] : [SUBPROTOCOL],
    options.transport ?? webSocketTransport(options.WebSocket),
    {
      opened: greet,
      received,
      ping: () => says.now(plain ? 'ping' : '{"type":"ping"}'),
      woke: () => each((part) => part.woke?.()),
      leave,
      changed,
      closed,
      heartbeat: (roundTrip) => emit('heartbeat', { roundTrip }),
      failed,
    },
  );
  const topics = createTopics({
    options,
    identity,
    channels,
    retry,
    isConnected: connection.isConnected,
    send,
    tell,
    emit,
    each,
  });

  const add = (part: Part): void => {
    parts.push(part);
    for (const [type, known] of Object.entries(part.frames ?? {})) frames.set(type, known);
  };

  return {
    identity,
    channels,
    connection,
    topics,
    retry,
    ack,
    flush,
    add,
    each,
    say,
    says,
    send,
    failed,
    emit,
    here,
    isPlain: plain,
    /** Tells one server from another. */
    scope: url.host + url.pathname,
  };
}
