/** Which kinds of sources there are, and what a URL and settings come to as a driver of one. */
import { closest } from '../option-names.ts';
import type { SourceDriver } from './driver.ts';
import type { SettingType, SourceKind } from './kind.ts';
import { type NatsSettings, nats } from './nats/nats.ts';
import type { SourceOptions } from './options.ts';
import { type RabbitSettings, rabbitmq } from './rabbitmq/rabbitmq.ts';
import { mysqlTables } from './tables/mysql-table.ts';
import { postgresTables } from './tables/postgres-table.ts';

/**
 * Where the messages are, as a program may give it in place of a URL: settings beside the URL, each as in its query.
 * docs/sources.md says which kind has which.
 */
export interface SourcePlace extends RabbitSettings, NatsSettings {
  /** Says the kind by its scheme, where it is, and with what login. */
  url: string;
  /** The outbox table. Default `tidings_outbox`. */
  table?: string;
  /** The table for what can never be sent. Default: the outbox table's name and `_dead`. */
  dead?: string;
  /** Milliseconds between two looks at an outbox table. */
  poll?: number;
}

const KINDS: readonly SourceKind[] = [rabbitmq, nats, postgresTables, mysqlTables];

/** What any source may have in its URL's query. */
const COMMON: Readonly<Record<string, SettingType>> = {
  prefetch: 'number',
  prefetchBytes: 'number',
  closeTimeout: 'number',
  mapTimeout: 'number',
  name: 'text',
};

const TYPES: Readonly<Record<SettingType, { isIt(value: unknown): boolean; what: string }>> = {
  text: { isIt: (value) => typeof value === 'string' && value !== '', what: 'a text, and not an empty one' },
  number: { isIt: (value) => typeof value === 'number', what: 'a number' },
  flag: { isIt: (value) => typeof value === 'boolean', what: 'true or false' },
};

/**
 * @param kinds others in place of ours, for tests
 * @returns the driver, and what the URL says of the settings that all sources have
 * @throws {TypeError} or {RangeError} for what makes no sense; never with the URL in it, which may hold a password
 */
export function driverOf(
  place: string | SourcePlace,
  kinds: readonly SourceKind[] = KINDS,
): { driver: SourceDriver; options: Partial<SourceOptions> } {
  const { url: given, ...settings } = typeof place === 'string' ? { url: place } : (place ?? {});
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(String(given))?.[1]?.toLowerCase();
  const kind = kinds.find((each) => scheme !== undefined && each.schemes.includes(scheme));
  if (typeof given !== 'string' || kind === undefined) {
    const known = kinds.flatMap((each) => each.schemes).map((each) => `${each}:`);
    throw new TypeError(`a source is a URL that begins with ${known.join(', ')}`);
  }
  for (const name of Object.keys(settings)) {
    if (!Object.hasOwn(kind.settings, name)) throw new TypeError(unknown(name, Object.keys(kind.settings)));
  }
  const { url, found } = withoutSettings(given, { ...COMMON, ...kind.settings });
  const own = Object.entries(found).filter(([name]) => !Object.hasOwn(COMMON, name));
  const common = Object.entries(found).filter(([name]) => Object.hasOwn(COMMON, name));
  const beside = Object.entries(settings).filter(([, value]) => value !== undefined);
  const all = Object.fromEntries([...own, ...beside]);
  for (const [name, value] of Object.entries(all)) {
    const { isIt, what } = TYPES[kind.settings[name]!];
    if (!isIt(value)) throw new TypeError(`${name} of a source is ${what}`);
  }
  return {
    driver: kind.make(url, all),
    options: Object.fromEntries(common),
  };
}

/** Takes the settings out of a URL's query. All else in it is the library's that connects. */
function withoutSettings(
  url: string,
  known: Readonly<Record<string, SettingType>>,
): { url: string; found: Record<string, unknown> } {
  const [before, query] = splitAt(url, url.indexOf('?'));
  const found: Record<string, unknown> = {};
  const rest: string[] = [];
  for (const part of query.slice(1).split('&')) {
    if (part === '') continue;
    const [given = '', value = ''] = [...new URLSearchParams(part)][0] ?? [];
    const name = given.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (Object.hasOwn(known, name)) {
      if (name in found) throw new TypeError(`the source's URL has ${given} twice`);
      found[name] = settingOf(given, value, known[name]!);
      continue;
    }
    if (given.length > 4 && closest(name, Object.keys(known)) !== undefined) {
      throw new TypeError(unknown(given, Object.keys(known)));
    }
    rest.push(part);
  }
  return { url: rest.length === 0 ? before : `${before}?${rest.join('&')}`, found };
}

function settingOf(name: string, text: string, type: SettingType): unknown {
  if (type === 'text') return text;
  if (type === 'number') {
    if (/^\d{1,15}$/.test(text)) return Number(text);
    throw new TypeError(`${name} in the source's URL is a whole number`);
  }
  if (text === 'true' || text === 'false') return text === 'true';
  throw new TypeError(`${name} in the source's URL is true or false`);
}

function unknown(name: string, known: readonly string[]): string {
  const likely = closest(name, known);
  const hint = likely === undefined ? `there are ${known.join(', ')}` : `is ${likely} meant?`;
  return `source: there is no ${JSON.stringify(name.slice(0, 64))}; ${hint}`;
}

function splitAt(text: string, index: number): [string, string] {
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index)];
}
