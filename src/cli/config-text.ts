/** The config file: one JSON object with the settings of all commands. */
import { closest } from '../option-names.ts';
import type { Files } from './files.ts';
import { UsageError } from './usage-error.ts';

/** How often a setting may be given, and whether it has a value. */
export type Kind = 'flag' | 'value' | 'list';

const DEFAULT_NAME = 'tidings.json';

/** What is said of a setting. */
export interface Texts {
  texts: string[];
  /** Each item of a list is a text by itself; otherwise one text has all. */
  areApart: boolean;
}

export interface ConfigText {
  name: string;
  /** The texts of a setting; undefined where the file does not have it. @throws {UsageError} for a kind of value that can't be */
  textsOf(key: string, kind: Kind): Texts | undefined;
}

/**
 * @param path undefined: the one in the working directory, if there is one
 * @throws {UsageError} for what can't be read, is no JSON object, or has a key that is unknown or comes twice
 */
export function configText(path: string | undefined, known: ReadonlySet<string>, files: Files): ConfigText {
  const name = path ?? DEFAULT_NAME;
  const settings = objectIn(name, path !== undefined, files);
  for (const key of settings.keys()) {
    if (known.has(key)) continue;
    const likely = closest(key, [...known]);
    throw new UsageError(
      `${name}: unknown key "${key}"${likely === undefined ? '' : `; did you mean "${likely}"?`}`,
    );
  }
  return {
    name,
    textsOf(key, kind) {
      const value = settings.get(key);
      if (value === undefined) return undefined;
      const areApart = Array.isArray(value) && kind === 'list';
      const items: unknown[] = areApart ? value : [value];
      const fits = items.every(
        (item) =>
          typeof item === 'string' ||
          (kind === 'flag' ? typeof item === 'boolean' : typeof item === 'number' && isExact(item)),
      );
      if (fits) return { texts: items.map(String), areApart };
      throw new UsageError(`${name}: "${key}" must be ${KINDS[kind]}`);
    },
  };
}

const KINDS: Record<Kind, string> = {
  flag: 'true or false',
  value: 'a string or a number',
  list: 'a string, or a list of strings',
};

/** Not one that was another when it was written. */
function isExact(number: number): boolean {
  return Number.isFinite(number) && Math.abs(number) <= Number.MAX_SAFE_INTEGER;
}

function objectIn(name: string, isAskedFor: boolean, files: Files): Map<string, unknown> {
  let content: string | undefined;
  try {
    content = isAskedFor ? files.read(name) : files.find(name);
  } catch (error) {
    throw new UsageError(`can't read the config file ${name}: ${(error as Error).message}`);
  }
  if (content === undefined) return new Map();
  let settings: unknown;
  try {
    // As some editors write it.
    content = content.replace(/^\ufeff/, '');
    settings = JSON.parse(content);
  } catch (error) {
    throw new UsageError(`the config file ${name} is not JSON${placeOf(error as Error, content)}`);
  }
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) {
    throw new UsageError(`the config file ${name} must hold one JSON object`);
  }
  const twice = keysOf(content).find((key, i, keys) => keys.indexOf(key) < i);
  if (twice !== undefined) throw new UsageError(`${name}: the key "${twice}" is there twice`);
  return new Map(Object.entries(settings));
}

/** Where the parser gave up, if it says so. Its message would show what stands there, which may be a secret. */
function placeOf({ message }: Error, content: string): string {
  const [, position] = /position (\d+)/.exec(message) ?? [];
  if (position === undefined) return message.includes('end of JSON') ? ': it ends too early' : '';
  const lines = content.slice(0, Number(position)).split('\n');
  return `: look at line ${lines.length}, column ${lines.at(-1)!.length + 1}`;
}

/** The keys of the outermost object, as often as they are there, of a text that is JSON. */
function keysOf(json: string): string[] {
  const keys: string[] = [];
  let depth = 0;
  for (const [token, text, colon] of json.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[[\]{}]/g)) {
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    else if (depth === 1 && colon !== undefined) keys.push(JSON.parse(text!));
  }
  return keys;
}
