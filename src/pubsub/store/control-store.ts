/**
 * What a control log asks of its store: each call is one atomic step there, in one order with all others. The store's clock
 * decides which leases are over.
 */
import type { ControlRecord } from './control.ts';

/** A command as it stands in the log. */
export interface Entry {
  number: number;
  id: string;
  /** Milliseconds since 1970 by the store's clock. */
  time: number;
  /** As JSON. */
  said: string;
}

/** A place in the log, with what stands there: numbers alone may be given again by a store that has lost something. */
export interface Place {
  /** Another one when commands may have been lost. Empty: no place. */
  epoch: string;
  number: number;
  id: string;
}

/** A record, or that there is none any more. */
export interface KeptRecord {
  /** When it was set or removed, in milliseconds since 1970 by the store's clock. */
  time: number;
  record: ControlRecord | undefined;
}

export interface LeaseRequest {
  /** Unique for each start of an instance. */
  instance: string;
  /** What it is called in messages. */
  name: string;
  /** Milliseconds. */
  length: number;
  /** The last command that it has carried out; of an empty epoch where it begins. */
  place: Place;
  /** Commands to bring at most. */
  most: number;
  /** The layout of the store that it knows (versions.ts). */
  layout: number;
  /** What commands were about that it has carried out. */
  counts: [id: string, count: number][];
}

export type LeaseReply =
  /** The store is written in a layout that the instance does not know: no lease. */
  | { status: 'newer'; layout: number }
  /** Commands may have been lost: no lease before the instance has said what it knows (`restore`). */
  | { status: 'lost' }
  /** It has its lease. `missed`: commands are not kept any more that it has not carried out; it goes on at the top. */
  | {
      status: 'ok' | 'missed';
      /** Where it goes on from. */
      place: Place;
      /** The store's clock. */
      time: number;
      /** What follows its place, oldest first. */
      entries: Entry[];
      /** Whether that is all. */
      isAll: boolean;
      /** All records, where it begins or has missed something. */
      records: [key: string, kept: KeptRecord][];
    };

export interface Progress {
  /** Milliseconds until no lease can be in force that the store does not know of. */
  unknown: number;
  /** The names of those with a lease who have not carried the command out. */
  pending: string[];
  /** The sum of what it was about, as those say who have. */
  count: number;
}

export interface Restored {
  place: Place;
  /** The store's clock. */
  time: number;
  /** When it was noticed that commands may have been lost, by the same clock. */
  since: number;
  /** All that are kept, oldest first. */
  entries: Entry[];
  /** All of them. */
  records: [key: string, kept: KeptRecord][];
}

/** What an error means for who has asked. */
export type Failure =
  /** The store is closed: by this process, for good. */
  | 'closed'
  /** The store refuses it as long as nobody changes something there, such as a right. */
  | 'forbidden'
  /** The store has answered that it can't, which is no matter of time: what is kept is damaged, it is full. */
  | 'refused'
  /** It may work the next time. */
  | 'passing';

export interface ControlStore {
  /** To have `ControlLog.rung` called when something is said. It only makes it faster. */
  subscribe(): Promise<void>;
  /** Renews a lease, and returns what the instance has not carried out yet. */
  lease(request: LeaseRequest): Promise<LeaseReply>;
  /**
   * Appends a command, changes a record with it, and rings. The same id again has no effect.
   *
   * @returns where it stands; `full` where there are too many records
   */
  command(command: {
    id: string;
    said: string;
    change: { key: string; record: ControlRecord | undefined } | undefined;
  }): Promise<{ epoch: string; number: number } | 'full'>;
  /**
   * Who has not carried out a command yet; `lost` where the log has no such command any more.
   *
   * @param lease milliseconds that leases last at least
   */
  progress(place: Place, lease: number): Promise<Progress | 'lost'>;
  /** Writes again what an instance knows and the store does not, and returns all. Records come with a command for each. */
  restore(
    records: { key: string; kept: KeptRecord; id: string; said: string }[],
    commands: Omit<Entry, 'number'>[],
  ): Promise<Restored>;
  /** Ends a lease. */
  leave(instance: string): Promise<void>;
  /** The layout that the store is written in; undefined where nobody knows. */
  layout(): Promise<number | undefined>;
  /** For `NewerStoreError`, and where the store is. */
  readonly newer: { code: string; address: string };
  /** What the application is told while there is no lease. */
  away(message: string): Error;
  failureOf(error: unknown): Failure;
}
