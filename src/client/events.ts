/** What the client tells the page. */
import type {
  BROADCAST,
  ChannelState,
  Channels,
  DataOf,
  GapReason,
  WirePosition,
} from '../push/talk/wire.ts';

/** A message, handed out once and in the order of its channel. */
export interface Message<Data = unknown> {
  /** `inbox` for what was sent to the user, else the topic; `broadcast` for what was sent to everyone; `''` in plain mode. */
  channel: string;
  /** What was sent; a Uint8Array for a binary message; in plain mode the text of the frame. */
  data: Data;
  /** Absent if no log keeps it (a plain PUBLISH from outside; plain mode): then there is nothing to acknowledge. */
  position?: WirePosition;
  /** Unique and unguessable; absent like `position`. */
  id?: string;
  /** Milliseconds since 1970 by the server's clock; absent like `position`. */
  time?: number;
  /** The application's own key, for a message that was sent by reference. */
  reference?: string;
  /** The application's server could not supply the data in time: fetch it by `reference`. */
  unresolved?: true;
}

/** Connected. In plain mode all but `resumed` are empty. */
export interface OpenEvent {
  /** The id of this session, unique over all instances. */
  session: string;
  /** The name of the instance that the page is connected to. */
  instance: string;
  /** The user as the server knows him. */
  user: string;
  /** False for the first connection of this client. */
  resumed: boolean;
  /** Where each channel goes on. */
  channels: Record<string, ChannelState>;
}

/** Messages were lost to this page: load its data anew. Messages after this event are complete again. */
export interface GapEvent {
  /** `inbox`, or the topic. */
  channel: string;
  /** Why they are lost: `trimmed`, `epoch` and so on, as `GapReason` says. */
  reason: GapReason | undefined;
  /** The channel goes on after this. */
  position: WirePosition;
}

/** Some device of the user, perhaps this one, has handled everything up to this position. */
export interface AckedEvent {
  /** `inbox`: nobody keeps what was acknowledged of topics. */
  channel: string;
  /** The id of that device. */
  device: string;
  /** All up to and including this one. */
  position: WirePosition;
}

/**
 * With `users`, or without any names as there are too many, it takes the place of what was said before; with `joined` or
 * `left` it is what has changed.
 */
export interface PresenceEvent {
  /** The topic. */
  channel: string;
  /** Who is there, where they are not too many to be named. */
  users?: string[];
  /** Users who were not there before. */
  joined?: string[];
  /** Users who are not there any more. */
  left?: string[];
  /** How many users are there. */
  total: number;
}

/** The connection has ended, or an attempt has failed. */
export interface CloseEvent {
  /** The close code: docs/troubleshooting.md has all of them. 1006 where there was none. */
  code: number;
  /** For whoever looks for the cause; often empty. */
  reason: string;
  /** Whether the client tries again by itself. */
  willReconnect: boolean;
}

/** Which of them holds; `state` events bring every change. */
export type ConnectionState =
  | { name: 'connecting' /** 0, or how many tries in a row have failed. */; attempt: number }
  | { name: 'connected' }
  | {
      name: 'waiting';
      attempt: number;
      /** Milliseconds until the next try. */
      delay: number;
      /** Milliseconds since 1970 of the next try, for a countdown. */
      until: number;
      /** Why the connection ended. */
      code: number;
      reason: string;
    }
  /** Hidden, and without a connection until the page is shown or has something to say: see docs/client.md, SockJS. */
  | { name: 'paused' }
  | { name: 'closed'; code: number; reason: string };

/** A message that the page was handed is gone: withdrawn, replaced by another one, deleted, or expired. Told once. */
export interface WithdrawnEvent {
  /** `inbox`, or the topic. */
  channel: string;
  /** The id of the message. */
  id: string;
  /** Where it stood. */
  position: WirePosition;
}

/** Where the application has said what comes by which channel, `channel` tells the type of `data`. */
export type MessageOf<C> = {
  [Name in Named<C>]: Message<DataOf<C, Name>> & { channel: Name };
}[Named<C>];
type Named<C> = Exclude<keyof C & string, keyof Channels> | typeof BROADCAST;

/** Events of a client, by name: what `on` takes, and what its listeners get. */
export interface ClientEvents<Data = unknown, C = unknown> {
  /** Connected, and greeted by the server. */
  open: OpenEvent;
  /** A message, once and in the order of its channel. */
  message: C extends Channels ? MessageOf<C> : Message<Data>;
  /** Messages were lost to this page. */
  gap: GapEvent;
  /** Not in the core. */
  withdrawn: WithdrawnEvent;
  /** A device of the user has acknowledged messages of the inbox. */
  acked: AckedEvent;
  /** `behind`: messages can be late just now, because the server's store is away. */
  status: { behind: boolean };
  /** Who is on a topic that was subscribed to with `presence: true`: first who is there, then what changes. */
  presence: PresenceEvent;
  /** The connection is in another state than before. */
  state: ConnectionState;
  /** `roundTrip` is undefined when the ping goes out, and milliseconds when it is answered. */
  heartbeat: { roundTrip: number | undefined };
  /**
   * What the server refused, a ticket that could not be had, or nonsense from the server. The client goes on where
   * it can; `state` says whether it does.
   */
  error: { code: string; message: string; channel?: string };
  /** The connection has ended. */
  close: CloseEvent;
  /**
   * The server has ended the subscription to a topic: `unsubscribed` by the application, `revoked` so that it can't be had
   * again, or `expired` with its ticket.
   */
  unsubscribed: { channel: string; reason: 'unsubscribed' | 'revoked' | 'expired' };
  /**
   * The user is signed out, or may not be here: the server has closed with 4501, 4503 or a final code of the
   * application's, and a ticket function knew no other ticket. `connect({ ticket })` begins anew.
   */
  'signed-out': { code: number; reason: string };
}

/** Calls the page's listeners, and returns what each of them has. */
export type Emit = <E extends keyof ClientEvents>(event: E, value: ClientEvents[E]) => unknown[];
