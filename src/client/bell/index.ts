/**
 * `tidings/bell`: makes `<tidings-bell>` known to the page. Without a page, as on a server, it does nothing.
 *
 * @module tidings/bell
 */
import { TidingsBell } from './element.ts';

if (typeof customElements !== 'undefined' && customElements.get('tidings-bell') === undefined)
  customElements.define('tidings-bell', TidingsBell);

export type { InboxCounts, InboxItem } from '../inbox.ts';
export type { BellEvents, MailDetail, MakeRow, ReadMail } from './bell.ts';
export { TidingsBell } from './element.ts';
export type { Mail } from './mail.ts';
export type { BellClient, BellState } from './source.ts';
export type { BellTexts } from './texts.ts';
