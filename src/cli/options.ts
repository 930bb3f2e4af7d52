/**
 * Where a command's settings come from: flags, then environment variables, then the config file, then
 * defaults. One table per command says what there is; help, parsing and documentation follow from it.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { closest } from '../option-names.ts';

/** What the user typed or configured is wrong. Ends the program with status 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** One setting: `--drain-window` on the command line, TIDINGS_DRAIN_WINDOW, `drainWindow` in the file. */
export interface Option<T> {
  kind: 'flag' | 'value' | 'list';
  /** Stands for the value in help, such as `PORT`. */
  placeholder: string;
  help: string;
  fallback: T;
  /** The default as help shows it; empty where there is none to show. */
  shown: string;
  /** It says what one call is about: neither the environment nor the config file, which serve all commands, can say it. */
  isOfOneCall?: boolean;
  /** @throws {UsageError} that ends a sentence such as "--port 'x' …" */
  parse(texts: string[]): T;
}
export type Options = Record<string, Option<unknown>>;
export type Values<O extends Options> = { [K in keyof O]: O[K] extends Option<infer T> ? T : never };
export type Source = 'flag' | 'environment' | 'file' | 'default';

export interface Settings<O extends Options> {
  values: Values<O>;
  sources: { [K in keyof O]: Source };
  positionals: string[];
}

export function text(placeholder: string, help: string): Option<string | undefined>;
export function text(placeholder: string, help: string, fallback: string): Option<string>;
export function text(placeholder: string, help: string, fallback?: string): Option<string | undefined> {
  return {
    kind: 'value',
    placeholder,
    help,
    fallback,
    shown: fallback ?? '',
    parse: (texts) => texts.at(-1),
  };
}

export function integer(
  placeholder: string,
  help: string,
  { min, max, fallback }: { min: number; max: number; fallback: number },
): Option<number> {
  const parse = (texts: string[]): number => {
    const number = /^\d+$/.test(texts.at(-1) ?? '') ? Number(texts.at(-1)) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw new UsageError(`must be a whole number from ${min} to ${max}`);
  };
  return { kind: 'value', placeholder, help, fallback, shown: String(fallback), parse };
}

export function flag(help: string): Option<boolean> {
  const parse = (texts: string[]): boolean => {
    const value = texts.at(-1)?.toLowerCase();
    if (value === 'true' || value === '1') return true;
    if (value === 'false' || value === '0' || value === '') return false;
    throw new UsageError('must be true or false');
  };
  return { kind: 'flag', placeholder: '', help, fallback: false, shown: '', parse };
}

/** May be repeated; `separator` splits one text into several. */
export function list(placeholder: string, help: string, separator: RegExp): Option<string[]> {
  const parse = (texts: string[]): string[] =>
    texts.flatMap((text) => text.split(separator)).filter((item) => item !== '');
  return { kind: 'list', placeholder, help, fallback: [], shown: '', parse };
}

/** For what one call is about: see `isOfOneCall`. */
export function once<T>(option: Option<T>): Option<T> {
  return { ...option, isOfOneCall: true };
}

export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export function environmentName(key: string): string {
  return `TIDINGS_${flagName(key).replaceAll('-', '_').toUpperCase()}`;
}

/**
 * @param known every key that a config file may hold, for any command: one file serves them all
 * @throws {UsageError} naming what is unknown or out of range, and where it stands
 */
export function readSettings<O extends Options>(
  options: O,
  args: string[],
  known: ReadonlySet<string>,
  environment: NodeJS.ProcessEnv,
): Settings<O> & { help: boolean } {
  const { values: given, positionals } = parse(options, args);
  const file = readConfig((given['config']?.at(-1) ?? environment['TIDINGS_CONFIG']) || undefined, known);

  const values: Record<string, unknown> = {};
  const sources: Record<string, Source> = {};
  for (const [key, option] of Object.entries(options)) {
    const fromFlag = given[flagName(key)];
    const fromEnvironment = option.isOfOneCall ? undefined : environment[environmentName(key)];
    const [source, where, texts]: [Source, string, string[] | undefined] =
      fromFlag !== undefined
        ? ['flag', `--${flagName(key)}`, fromFlag]
        : fromEnvironment !== undefined
          ? ['environment', environmentName(key), [fromEnvironment]]
          : ['file', `${file.name}: "${key}"`, option.isOfOneCall ? undefined : file.texts[key]];
    sources[key] = texts === undefined ? 'default' : source;
    try {
      values[key] = texts === undefined ? option.fallback : option.parse(texts);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new UsageError(`${where} '${texts?.join(' ')}' ${error.message}`);
    }
  }
  return {
    values: values as Values<O>,
    sources: sources as Settings<O>['sources'],
    positionals,
    help: given['help'] !== undefined,
  };
}

function parse(
  options: Options,
  args: string[],
): { values: Record<string, string[]>; positionals: string[] } {
  const names = new Map(Object.entries(options).map(([key, option]) => [flagName(key), option]));
  const accepted = [...names.keys(), 'config', 'help'];
  const { tokens, positionals } = parseArgs({
    args,
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      config: { type: 'string' },
      ...Object.fromEntries(
        [...names].map(([name, { kind }]) => [
          name,
          { type: kind === 'flag' ? ('boolean' as const) : ('string' as const) },
        ]),
      ),
    },
  });
  const values: Record<string, string[]> = {};
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    if (!accepted.includes(token.name)) {
      const likely = closest(token.name, accepted);
      throw new UsageError(
        `unknown option ${token.rawName}${likely === undefined ? '' : `; did you mean --${likely}?`}`,
      );
    }
    const isFlag = token.name === 'help' || names.get(token.name)?.kind === 'flag';
    if (!isFlag && token.value === undefined) throw new UsageError(`${token.rawName} needs a value`);
    values[token.name] = [...(values[token.name] ?? []), token.value ?? 'true'];
  }
  return { values, positionals };
}

function readConfig(
  path: string | undefined,
  known: ReadonlySet<string>,
): { name: string; texts: Record<string, string[] | undefined> } {
  const name = path ?? 'tidings.json';
  let content: string;
  try {
    content = readFileSync(name, 'utf8');
  } catch (error) {
    if (path === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return { name, texts: {} };
    throw new UsageError(`can't read the config file ${name}: ${(error as Error).message}`);
  }
  let settings: unknown;
  try {
    settings = JSON.parse(content);
  } catch (error) {
    throw new UsageError(`the config file ${name} is not JSON: ${(error as Error).message}`);
  }
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) {
    throw new UsageError(`the config file ${name} must hold one JSON object`);
  }
  const texts: Record<string, string[] | undefined> = Object.create(null);
  for (const [key, value] of Object.entries(settings)) {
    if (!known.has(key)) {
      const likely = closest(key, [...known]);
      throw new UsageError(
        `${name}: unknown key "${key}"${likely === undefined ? '' : `; did you mean "${likely}"?`}`,
      );
    }
    const items: unknown[] = Array.isArray(value) ? value : [value];
    if (!items.every((item) => ['string', 'number', 'boolean'].includes(typeof item))) {
      throw new UsageError(`${name}: "${key}" must be a string, a number, true, false, or a list of strings`);
    }
    texts[key] = items.map(String);
  }
  return { name, texts };
}
