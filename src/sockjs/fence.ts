/** What stands between what waits in a session and its client: it may have to stay there. */
import type { Attributes } from '../server/transport.ts';

export interface Fence {
  /** Called before what waits is handed to a receiver: it may end the session. */
  look(): void;
  /** What a frame gets that leaves later or through another instance. */
  stamp(attributes: Attributes): string;
  /** Whether a frame with this stamp, perhaps of another instance, may still go to its client. */
  mayPass(stamp: string): boolean;
}
