/** What `tidings prove` has to know of a push server: how a page is opened, how a message is sent, and what is said to pages. */

/** What an adapter tells of a page. All of it may be called at any time, also after `close`. */
export interface PageEvents {
  /** The page has a connection, on which the server knows whose page it is. */
  connected(): void;
  /** It has lost the connection, or could not get one; `why` is for people. */
  disconnected(why?: string): void;
  /**
   * A message, as an application gets it: what the adapter's client has sorted out by itself is no second one.
   *
   * @param text what was sent; its JSON may be written in another way
   * @param id the server's own name for the message, where it has one
   */
  message(text: string, id?: string): void;
  /** The server has said that messages are missing. It counts for what was accepted by then and does not come after it. */
  told(reason?: string): void;
}

/** A page to open. It comes back by itself when its connection is lost, within a second, until it is closed. */
export interface PageRequest {
  user: string;
  /** The address that was given, through the proxy that breaks the page's connections: plain `http:` or `ws:`. */
  url: string;
}

export interface AdapterPage {
  /** Ends it for good. */
  close(): void | Promise<void>;
}

export interface Outgoing {
  user: string;
  /** Counts 1, 2, 3 … for each user. */
  n: number;
  /** What pages have to get. It is JSON, an object. */
  text: string;
  /** The same for each try with the same message, and for no other one. */
  key: string;
}

export interface Adapter {
  /** What the report calls the server. */
  name: string;
  /** A message that is sent again with its key is stored once. Without it, what had no answer is never sent again. */
  repeats?: boolean;
  open(page: PageRequest, events: PageEvents): AdapterPage | Promise<AdapterPage>;
  /**
   * Resolves when the server has accepted the message: from then on it may not be lost. Rejects where it has not, or where
   * nobody knows. The signal is aborted when the answer isn't waited for any more.
   */
  send(message: Outgoing, signal: AbortSignal): Promise<unknown>;
  /** After the last page. */
  close?(): void | Promise<void>;
}

export interface AdapterContext {
  /** The addresses that were given, one for each instance. */
  urls: string[];
  /** Where messages are sent to, with `{user}` in it, as `--send` says. */
  send: string | undefined;
  /** `--token`. */
  token: string | undefined;
  /** `--secret`: what the server's tickets are signed with. */
  secret: string | undefined;
  /** `--query-user`. */
  userParameter: string;
  /** `--set NAME=VALUE`. An adapter refuses names that it doesn't know. */
  settings: Readonly<Record<string, string>>;
}

/** @throws {AdapterError} where it can't be done as it was asked for */
export type AdapterFactory = (context: AdapterContext) => Adapter | Promise<Adapter>;

/** What was asked for can't be. Its message is for the person who has asked. */
export class AdapterError extends Error {
  override name = 'AdapterError';
}

/** The server takes nothing from who sends: to try again is of no use. */
export class RefusedError extends Error {
  override name = 'RefusedError';
}

/** @throws {AdapterError} for a setting that there is not */
export function takeSettings<const Name extends string>(
  { settings }: AdapterContext,
  adapter: string,
  names: readonly Name[],
): Partial<Record<Name, string>> {
  for (const name of Object.keys(settings)) {
    if ((names as readonly string[]).includes(name)) continue;
    const known = names.length === 0 ? 'has no settings' : `knows ${names.join(', ')}`;
    throw new AdapterError(`--set ${name}: the adapter ${adapter} ${known}`);
  }
  return settings as Partial<Record<Name, string>>;
}

/** The address for this user. */
export function filled(template: string, user: string): string {
  return template.replaceAll(/\{user\}|%7Buser%7D/gi, encodeURIComponent(user));
}

/**
 * Where a page of the user connects. Where the address has no place for the user, it is a parameter.
 *
 * @param path for an address without a path
 */
export function pageAddress({ url, user }: PageRequest, path?: string): string {
  const full = filled(url, user);
  if (full !== url) return full;
  const target = new URL(url);
  if (path !== undefined && target.pathname === '/' && target.search === '')
    return new URL(filled(path, user), target).href;
  target.searchParams.set('user', user);
  return target.href;
}
