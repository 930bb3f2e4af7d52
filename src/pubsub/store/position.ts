/**
 * Where a message stands in its channel. Offsets count 1, 2, 3 … within an epoch; offset 0 with an empty
 * id stands before the first message. The id is unguessable, so a store that rewound and counts again
 * is noticed: same epoch and offset, other id.
 */
export interface Position {
  /** Another one begins when the log does, and where the store has lost messages. */
  epoch: string;
  /** Counts from 1. */
  offset: number;
  /** Of the message that stands here. */
  id: string;
}
