/**
 * Where a command's settings come from: flags, then environment variables, then the config file, then
 * defaults. One table per command says what there is; help, parsing and documentation follow from it.
 */
import { parseArgs } from 'node:util';
import { closest } from '../option-names.ts';
import { configText, type Kind, type Texts } from './config-text.ts';
import { isOfKubernetes } from './environment.ts';
import { Files } from './files.ts';
import { UsageError } from './usage-error.ts';

export { UsageError };

/** One setting: `--drain-window` on the command line, TIDINGS_DRAIN_WINDOW, `drainWindow` in the file. */
export interface Option<T> {
  kind: Kind;
  /** Stands for the value in help, such as `PORT`. */
  placeholder: string;
  help: string;
  fallback: T;
  /** The default as help shows it; empty where there is none to show. */
  shown: string;
  /** It says what one call is about: neither the environment nor the config file, which serve all commands, can say it. */
  isOfOneCall?: boolean;
  /**
   * What the environment and the config file call it, as a key, where that is not what its flag is called. They may have
   * a list of them there.
   */
  sharedAs?: string;
  /** No message shows its value. */
  isSecret?: boolean;
  /** What is between several in one text; `parse` gets them apart. */
  separator?: RegExp;
  /** When a new value counts that a running server is given; left out: when it is started again. */
  reload?: Reload;
  /** @throws {UsageError} that ends a sentence such as "--port 'x' …" */
  parse(texts: string[], files: Files): T;
}
/** For all, or for pages that come from then on. */
export type Reload = 'at once' | 'new pages';
export type Options = Record<string, Option<unknown>>;
export type Values<O extends Options> = { [K in keyof O]: O[K] extends Option<infer T> ? T : never };
export type Source = 'flag' | 'environment' | 'file' | 'default';

export interface Settings<O extends Options> {
  values: Values<O>;
  sources: { [K in keyof O]: Source };
  positionals: string[];
  /** What was read for it. */
  files: Files;
  /** The same command line and environment with these files. @throws {UsageError} */
  again(files: Files): Settings<O>;
}

/** A file that a setting names, with what is in it. */
export interface TextFile {
  name: string;
  text: string;
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
    parse: single,
  };
}

/** One of these words. */
export function choice<const T extends string>(
  words: readonly T[],
  help: string,
  fallback: NoInfer<T>,
): Option<T> {
  const parse = (texts: string[]): T => {
    const word = words.find((each) => each === single(texts));
    if (word !== undefined) return word;
    throw new UsageError(`must be ${words.slice(0, -1).join(', ')} or ${words.at(-1)}`);
  };
  return { kind: 'value', placeholder: words.join('|'), help, fallback, shown: fallback, parse };
}

/** What is in the file that is named. */
export function file(placeholder: string, help: string): Option<TextFile | undefined> {
  const parse = (texts: string[], files: Files): TextFile => read(single(texts), files);
  return { kind: 'value', placeholder, help, fallback: undefined, shown: '', parse };
}

/** The same of several. */
export function fileList(placeholder: string, help: string): Option<TextFile[]> {
  const names = list(placeholder, help, LINES);
  const parse = (texts: string[], files: Files): TextFile[] =>
    names.parse(texts, files).map((name) => read(name, files));
  return { ...names, fallback: [], parse };
}

function read(name: string, files: Files): TextFile {
  let text: string;
  try {
    text = files.read(name);
  } catch (error) {
    throw new UsageError(`can't be read: ${(error as Error).message}`);
  }
  if (text.trim() === '') throw new UsageError('is an empty file');
  return { name, text };
}

/** @throws {UsageError} for none, several, or an empty one */
function single(texts: string[]): string {
  const [text, ...more] = texts;
  if (more.length > 0) throw new UsageError('is given more than once');
  if (text === undefined || text.trim() === '') throw new UsageError('is empty');
  return text;
}

const UNITS: Readonly<Record<string, string>> = { MS: ' of milliseconds', SECONDS: ' of seconds' };

export function integer(
  placeholder: string,
  help: string,
  { min, max, fallback }: { min: number; max: number; fallback: number },
): Option<number> {
  const unit = UNITS[placeholder] ?? '';
  const parse = (texts: string[]): number => {
    const text = single(texts);
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw new UsageError(`must be a whole number${unit} from ${min} to ${max}`);
  };
  return { kind: 'value', placeholder, help, fallback, shown: String(fallback), parse };
}

export function flag(help: string): Option<boolean> {
  const parse = (texts: string[]): boolean => {
    const value = single(texts).toLowerCase();
    if (value === 'true' || value === '1') return true;
    if (value === 'false' || value === '0') return false;
    throw new UsageError('must be true or false');
  };
  return { kind: 'flag', placeholder: '', help, fallback: false, shown: '', parse };
}

/** May be repeated; `separator` is between several in one text. */
export function list(placeholder: string, help: string, separator: RegExp): Option<string[]> {
  const parse = (items: string[]): string[] => {
    if (new Set(items).size < items.length) throw new UsageError('names the same twice');
    return items;
  };
  return { kind: 'list', placeholder, help, fallback: [], shown: '', separator, parse };
}

/** Between items that may have blanks, such as secrets and names of files. */
export const LINES = /[\r\n]+/;

/**
 * What is in one text. Who gives each item by itself means one of it, blanks and all: of two words would otherwise come two
 * items, such as two short tokens. Commas and line breaks are between items nevertheless, where the list has them.
 *
 * @throws {UsageError} where there is nothing
 */
function itemsOf(text: string, separator: RegExp, isByItself: boolean): string[] {
  const parts = text.split(isByItself && !separator.test(',') ? LINES : separator);
  const items = parts.filter((item) => item.trim() !== '');
  if (items.length === 0) throw new UsageError('is empty');
  return separator.test(' ') ? items.map((item) => item.trim()) : items;
}

/** For what one call is about: see `isOfOneCall`. */
export function once<T>(option: Option<T>): Option<T> {
  return { ...option, isOfOneCall: true };
}

/** What no message may show. */
export function secret<T>(option: Option<T>): Option<T> {
  return { ...option, isSecret: true };
}

/** What a running server takes anew. */
export function reloaded<T>(when: Reload, option: Option<T>): Option<T> {
  return { ...option, reload: when };
}

/** @param problem what is wrong with a value, as the end of a sentence such as "--path 'x' …"; undefined where nothing is */
export function checked<T>(
  option: Option<T>,
  problem: (value: NonNullable<T>) => string | undefined,
): Option<T> {
  const parse = (texts: string[], files: Files): T => {
    const value = option.parse(texts, files);
    const found = value === undefined || value === null ? undefined : problem(value);
    if (found !== undefined) throw new UsageError(found);
    return value;
  };
  return { ...option, parse };
}

/** What somebody has said of a setting. */
interface Said extends Texts {
  source: Source;
  /** Such as `--port`. */
  where: string;
}

/** @throws {UsageError} naming where it stands */
function settingOf<T>(option: Option<T>, { where, texts, areApart }: Said, files: Files): T {
  const { separator, isSecret } = option;
  try {
    const items =
      separator === undefined ? texts : texts.flatMap((text) => itemsOf(text, separator, areApart));
    return option.parse(items, files);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const shown = isSecret ? '' : ` '${texts.join(' ')}'`;
    throw new UsageError(`${where}${shown} ${error.message}`);
  }
}

/** The key of a setting in the config file, and in its name in the environment. */
export function sharedKey(key: string, { sharedAs }: Pick<Option<unknown>, 'sharedAs'>): string {
  return sharedAs ?? key;
}

export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export function environmentName(key: string): string {
  return `TIDINGS_${flagName(key).replaceAll('-', '_').toUpperCase()}`;
}

/**
 * @param known every key that a config file may hold, for any command: one file serves them all
 * @param files where they were read before; they are read from the disk otherwise
 * @throws {UsageError} naming what is unknown or out of range, and where it stands
 */
export function readSettings<O extends Options>(
  options: O,
  args: string[],
  known: ReadonlySet<string>,
  environment: NodeJS.ProcessEnv,
  files: Files = Files.fromDisk(),
): Settings<O> & { help: boolean } {
  const { values: given, positionals } = parse(options, args);
  if ((given['config']?.length ?? 0) > 1) throw new UsageError('--config is given more than once');
  const variables = variablesOf(environment, known);
  const path = given['config']?.[0] ?? variables.get('TIDINGS_CONFIG');
  if (path?.trim() === '') throw new UsageError('the name of the config file is empty');
  const file = configText(path, known, files);

  const values: Record<string, unknown> = {};
  const sources: Record<string, Source> = {};
  for (const [key, option] of Object.entries(options)) {
    const fromFlag = given[flagName(key)];
    const shared = sharedKey(key, option);
    const fromEnvironment = option.isOfOneCall ? undefined : variables.get(environmentName(shared));
    const inFile = (): Said | undefined => {
      if (option.isOfOneCall) return undefined;
      const found = file.textsOf(shared, option.sharedAs === undefined ? option.kind : 'list');
      return found && { source: 'file', where: `${file.name}: "${shared}"`, ...found };
    };
    const said: Said | undefined =
      fromFlag !== undefined
        ? { source: 'flag', where: `--${flagName(key)}`, texts: fromFlag, areApart: true }
        : fromEnvironment !== undefined
          ? {
              source: 'environment',
              where: environmentName(shared),
              texts: [fromEnvironment],
              areApart: false,
            }
          : inFile();
    if (option.sharedAs !== undefined && fromFlag !== undefined && fromFlag.length > 1) {
      throw new UsageError(`--${flagName(key)} is given more than once`);
    }
    sources[key] = said?.source ?? 'default';
    values[key] = said === undefined ? option.fallback : settingOf(option, said, files);
  }
  return {
    values: values as Values<O>,
    sources: sources as Settings<O>['sources'],
    positionals,
    help: given['help'] !== undefined,
    files,
    again: (others) => readSettings(options, args, known, environment, others),
  };
}

/** Names of before, each with that of today. */
const RENAMED: Readonly<Record<string, string>> = { TIDINGS_TOKEN: 'TIDINGS_ADMIN_TOKEN' };

/** Our variables. @throws {UsageError} for one that there is not */
function variablesOf(environment: NodeJS.ProcessEnv, known: ReadonlySet<string>): Map<string, string> {
  const names = ['TIDINGS_CONFIG', ...[...known].map(environmentName)];
  const variables = new Map<string, string>();
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith('TIDINGS_') || value === undefined || isOfKubernetes(name, value)) continue;
    if (!names.includes(name)) {
      if (name in RENAMED) throw new UsageError(`${name} is called ${RENAMED[name]} now`);
      const likely = closest(name, names);
      throw new UsageError(
        `unknown environment variable ${name}${likely === undefined ? '' : `; did you mean ${likely}?`}`,
      );
    }
    variables.set(name, value);
  }
  return variables;
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
    const { value, inlineValue } = token;
    if (!isFlag && (value === undefined || (value.startsWith('--') && !inlineValue))) {
      throw new UsageError(`${token.rawName} needs a value`);
    }
    values[token.name] = [...(values[token.name] ?? []), token.value ?? 'true'];
  }
  return { values, positionals };
}
