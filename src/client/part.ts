/** What is added to a talk: the core is without any, `full.ts` has all. */
import type {
  ChannelState,
  ErrorFrame,
  Hello,
  Welcome,
  WireMessage,
  WirePosition,
} from '../push/talk/wire.ts';
import type { Frames } from './frames.ts';

export interface Part {
  /** Frames that it understands. */
  frames?: Frames;
  /** Changes what a greeting says. */
  hello?(hello: Hello): void;
  /** Connected. */
  welcome?(frame: Welcome): void;
  /** A channel goes on after this position. */
  begun?(channel: string, state: ChannelState): void;
  /** The next message of a channel, before the page has it; also one that the page has had at another position. */
  message?(frame: WireMessage): void;
  /** True where it was this that was refused, and the page is not to be told. */
  refused?(frame: ErrorFrame, error: Error): boolean;
  /** The page has woken up, or been shown. */
  woke?(): void;
  /** The page is not shown any more. */
  left?(): void;
  /** The page has something to say. */
  speaks?(): void;
  /** The name of the user has become known; what the page has may be another user's. */
  loaded?(isAnother: boolean): void;
  /** The page is done with everything of a channel up to here; undefined: it has left the channel. */
  handled?(channel: string, position: WirePosition | undefined): void;
  /** The connection is gone. */
  lost?(code: number | undefined): void;
  /** It won't come back by itself. */
  closed?(error: Error): void;
}
