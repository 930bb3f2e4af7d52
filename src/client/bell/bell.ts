/** What the parts of a bell know of it, and what a page is told. */
import type { InboxItem } from '../inbox.ts';
import type { Mail } from './mail.ts';
import type { BellState, Source, SourceUser } from './source.ts';
import type { Texts } from './texts.ts';

/** Gives the texts of a message whose data is not as the bell expects it; what it leaves out is read as always. */
export type ReadMail = (data: unknown, item: InboxItem | undefined) => Partial<Mail> | null | undefined;
/** Gives what stands in a row; nothing for the bell's own. */
export type MakeRow = (item: InboxItem, mail: Mail) => Node | null | undefined;

/** What comes with `tidings-mail` and `tidings-open`. */
export interface MailDetail {
  /** Undefined for a message that no inbox keeps. */
  item: InboxItem | undefined;
  /** Its texts as the bell shows them. */
  mail: Mail;
  /** What was sent, as it came. */
  data: unknown;
}

/** Events of `<tidings-bell>`, by name. */
export interface BellEvents {
  /** A new message; `preventDefault()` if the page tells of it itself. */
  'tidings-mail': CustomEvent<MailDetail>;
  /** A message was pressed; with `preventDefault()` nothing becomes of it: it stays unread, and no link is followed. */
  'tidings-open': CustomEvent<MailDetail>;
  /** The list was opened or closed. */
  'tidings-toggle': CustomEvent<{ open: boolean }>;
  /** The bell connects, is offline, or its user is signed out. */
  'tidings-state': CustomEvent<{ state: BellState }>;
  /** Other messages are unseen or unread than before. */
  'tidings-counts': CustomEvent<{ unseen: number; unread: number }>;
}

/** What a bell has, for all parts of it. */
export interface Bell extends SourceUser {
  /** Its attributes are the settings. */
  readonly element: HTMLElement;
  /** Around what is seen of it. */
  readonly root: ShadowRoot;
  readonly anchor: HTMLElement;
  texts: Texts;
  source: Source | undefined;
  state: BellState;
  readMail: ReadMail | undefined;
  makeRow: MakeRow | undefined;
  /** @param isNew whether the rows are to be made again */
  render(isNew?: boolean): void;
  /** The attribute `open` has come or gone. */
  toggled(): void;
  /** The element has left the page. */
  left(): void;
  mail(item: InboxItem): Mail;
  /** Content of the page's own for a row. */
  content(item: InboxItem, mail: Mail): Node | undefined;
  /** @returns false where the page deals with it */
  opened(detail: MailDetail, event?: Event): boolean;
  announce(text: string): void;
  /** Closes the list; the focus goes back to where it came from. */
  close(): void;
}
