/** The topics of a page: which it has asked for, which the application has given to it, and what the server says of each. */
import {
  type ChannelState,
  type ClientFrame,
  type ErrorCode,
  INBOX,
  type Unsubscribed,
  type WirePosition,
} from '../push/talk/wire.ts';
import { type Channels, ORIGIN } from './channels.ts';
import type { Emit } from './events.ts';
import type { Identity } from './identity.ts';
import type { Start, Ticket, TicketSource } from './options.ts';
import type { Part } from './part.ts';
import type { Retry } from './retry.ts';

/** A server's error frame says no more of a name than this. */
const MAX_NAME = 300;

/** Where a topic begins, and what permits it. */
export interface TopicWishes {
  start?: Start;
  position?: WirePosition;
  /** Of `signTopicTicket`; or what gets one, each time that it is needed. */
  ticket?: TicketSource;
  /** Whether `presence` events tell who is on the topic, where the application permits it. */
  presence?: boolean;
}

interface Topic extends TopicWishes {
  /** As the server has confirmed it on this connection; null: it has refused a ticket, and gets another, but no third one. */
  state?: ChannelState | null | undefined;
  waiting: [resolve: (state: ChannelState) => void, reject: (error: Error) => void][];
}

/** What topics need of the talk that they are a part of. */
export interface TopicsUser {
  options: { start?: Start };
  identity: Identity;
  channels: Channels;
  retry: Retry;
  isConnected(): boolean;
  /** Nothing where there is no connection. */
  send(frame: ClientFrame): void;
  tell(code: string, message: string, channel?: string): void;
  emit: Emit;
  /** Calls this of each part. */
  each(call: (part: Part) => unknown): void;
}

export type Topics = ReturnType<typeof createTopics>;

export function createTopics(user: TopicsUser) {
  const { options, identity, channels, retry, isConnected, send, tell, emit, each } = user;
  const topics = new Map<string, Topic>();
  /** Topics that the application has given to this page, which has not asked for them. */
  const given = new Set<string>();
  /** Topics just left, by how many answers are to come: late messages of these are not for the page any more. */
  const leaving = new Map<string, number>();
  /** Channels that the server's store can't use, as the page was told. */
  const damaged = new Set<string>();
  /** Topics that the hello of this connection names. */
  let greeted = new Set<string>();

  /** After which message a channel goes on, as far as this page knows. */
  const positionOf = (name: string, topic?: Topic): WirePosition | undefined =>
    channels.known(name) ??
    topic?.position ??
    identity.positions?.get(name) ??
    ((topic?.start ?? options.start) === 'beginning' ? ORIGIN : undefined);

  const join = (channel: string, topic: Topic): void => {
    const { ticket, presence, start = options.start } = topic;
    const own = greeted;
    const ask = (one: Ticket): void => {
      // On another connection it is asked for anew; and the page may have left it.
      if (own !== greeted || topics.get(channel) !== topic) return;
      send({
        type: 'subscribe',
        channel,
        ticket: one || undefined,
        presence: presence || undefined,
        position: positionOf(channel, topic),
        start: start === 'beginning' ? undefined : start,
      });
    };
    if (typeof ticket !== 'function') ask(ticket);
    else
      Promise.resolve()
        .then(ticket)
        .then(ask, (error: unknown) => {
          tell('ticket', String(error), channel);
          joinLater(channel, topic);
        });
  };
  const joinLater = (channel: string, topic: Topic): void => retry.later(topic, () => join(channel, topic));

  const isLeaving = (channel: string): boolean => leaving.has(channel);
  const leave = (channel: string): void => {
    leaving.set(channel, (leaving.get(channel) ?? 0) + 1);
    send({ type: 'unsubscribe', channel });
  };
  const left = (channel: string): void => {
    const more = (leaving.get(channel) ?? 0) - 1;
    if (more > 0) leaving.set(channel, more);
    else leaving.delete(channel);
  };

  const fail = ({ waiting }: Topic, error: Error): void => {
    for (const [, reject] of waiting.splice(0)) reject(error);
  };
  const drop = (channel: string, topic: Topic, error: Error): void => {
    topics.delete(channel);
    fail(topic, error);
  };
  const forget = (channel: string): void => {
    channels.forget(channel);
    each((part) => part.handled?.(channel, undefined));
  };

  /** The server has ended the subscription. */
  const taken = (channel: string, reason: NonNullable<Unsubscribed['reason']>): void => {
    const topic = topics.get(channel);
    if (topic) {
      topic.state = undefined;
      if (reason === 'expired' && typeof topic.ticket === 'function') {
        join(channel, topic);
        return;
      }
      drop(channel, topic, new Error(reason));
    }
    given.delete(channel);
    forget(channel);
    emit('unsubscribed', { channel, reason });
  };

  /** A channel goes on after this position, with or without something lost before it. */
  const begin = (channel: string, begun: ChannelState): void => {
    const { position, recovered, reason } = begun;
    channels.begin(channel, position, recovered);
    each((part) => part.begun?.(channel, begun));
    damaged.delete(channel);
    const topic = topics.get(channel);
    if (topic) {
      topic.state = { position, recovered, ...(reason && { reason }) };
      for (const [resolve] of topic.waiting.splice(0)) resolve(topic.state);
    } else if (channel !== INBOX) given.add(channel);
    if (!recovered) emit('gap', { channel, reason, position });
  };

  return {
    isLeaving,
    begin,

    async subscribe(channel: string, wishes: TopicWishes): Promise<ChannelState> {
      let topic = topics.get(channel);
      if (!topic) {
        if (isReserved(channel)) {
          // Not a name that a frame should carry: no server could say which one it refuses.
          const name = String(channel).slice(0, MAX_NAME);
          const error = refusal('bad-channel', `no name of a topic: ${name}`);
          queueMicrotask(() => tell(error.code, error.message, name));
          throw error;
        }
        topic = { ...wishes, waiting: [] };
        topics.set(channel, topic);
        if (isConnected()) join(channel, topic);
      }
      const { state, waiting } = topic;
      return state ?? new Promise((...one) => waiting.push(one));
    },

    unsubscribe(channel: string): void {
      const topic = topics.get(channel);
      if (!topic) return;
      drop(channel, topic, new Error('unsubscribed'));
      forget(channel);
      if (isConnected()) leave(channel);
    },

    /** For a hello. Topics that it doesn't name are joined by frames of their own. */
    greet() {
      const names: string[] = [];
      // A topic with a beginning of its own is joined by a frame of its own, the first time; one with a ticket or with
      // presence, always.
      for (const [name, { ticket, presence, start, position }] of topics)
        if (!ticket && !presence && (channels.known(name) || !(start ?? position))) names.push(name);
      const all = [INBOX, ...names, ...given].map((name) => [name, positionOf(name)]);
      return { positions: Object.fromEntries(all) as Record<string, WirePosition>, topics: names };
    },

    /** The hello has been said, and names these. */
    greeted(names: string[]): void {
      greeted = new Set(names);
    },

    welcome(states: Record<string, ChannelState>): void {
      const own = greeted;
      // Without those that the page has left since it said hello.
      for (const [name, state] of Object.entries(states))
        if (!own.has(name) || topics.has(name)) begin(name, state);
      // A listener may have ended it, and so on.
      if (!isConnected() || own !== greeted) return;
      for (const name of own) if (!topics.has(name)) leave(name);
      for (const [name, topic] of topics) if (!own.has(name)) join(name, topic);
    },

    unsubscribed(channel: string, reason: Unsubscribed['reason']): void {
      if (reason === undefined || isLeaving(channel)) left(channel);
      else taken(channel, reason);
    },

    /** Returns true where the page is not to be told. */
    refused(channel: string, code: ErrorCode, error: Error): boolean {
      if (isLeaving(channel)) {
        // The page has left it, and so it does not matter why it could not be had.
        if (code === 'not-subscribed') left(channel);
        return true;
      }
      const topic = topics.get(channel);
      if (code === 'damaged') {
        if (topic) {
          topic.state = undefined;
          joinLater(channel, topic);
        }
        if (damaged.has(channel)) return true;
        damaged.add(channel);
      } else if (topic && !topic.state) {
        // The ticket may have expired on its way, and a function knows newer ones.
        if (topic.state !== null && code === 'forbidden' && typeof topic.ticket === 'function') {
          topic.state = null;
          join(channel, topic);
          return true;
        }
        if (code === 'unavailable') {
          joinLater(channel, topic);
          return true;
        }
        drop(channel, topic, error);
      }
      // The application does not give it any more.
      const isTaken = !topic && given.has(channel);
      if (isTaken) taken(channel, 'unsubscribed');
      return isTaken;
    },

    /** The connection is gone; with an error, for good. */
    lost(error?: Error): void {
      leaving.clear();
      for (const topic of topics.values()) {
        topic.state = undefined;
        if (error) fail(topic, error);
      }
    },
  };
}

/** As an error that says by its `code` what a server would. */
export function refusal(code: string, message: string): Error & { code: string } {
  return Object.assign(new Error(message), { code });
}

/** Whether a topic can't have this name, whatever the server thinks of it (docs/wire.md, Words). */
function isReserved(name: unknown): boolean {
  return typeof name !== 'string' || name.length > MAX_NAME || /^(inbox$|broadcast$|user:)/.test(name);
}
