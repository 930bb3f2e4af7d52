/** What a command of the program is, and how its help reads. */
import { environmentName, flagName, type Options, type Settings, sharedKey } from './options.ts';

export interface Command<O extends Options = Options> {
  name: string;
  /** After the name in the usage line, such as `USER [TEXT|-]`. */
  positionals: string;
  /** One line in the list of commands. */
  summary: string;
  /** What a person wants to know before the options; may be several paragraphs. */
  description: string;
  /** Command lines that work, each with what it does. */
  examples: [commandLine: string, meaning: string][];
  options: O;
  /** Resolves with the exit status. @throws {UsageError} */
  run(settings: Settings<O>): Promise<number>;
}

/** Keeps the options' types for `run`. */
export function command<O extends Options>(definition: Command<O>): Command {
  return definition as unknown as Command;
}

const WIDTH = 100;

export function helpOf({ name, positionals, description, examples, options }: Command): string {
  const rows = Object.entries(options).map(([key, { placeholder, help, shown }]): [string, string] => [
    `--${flagName(key)}${placeholder === '' ? '' : ` ${placeholder}`}`,
    `${help}${shown === '' ? '' : ` [${shown}]`}`,
  ]);
  rows.push(['--config FILE', 'JSON file with settings, keys as in docs/configuration.md [./tidings.json]']);
  rows.push(['-h, --help', 'This text']);
  const ofOneCall = Object.keys(options).filter((key) => options[key]!.isOfOneCall);
  const but = ofOneCall.length === 0 ? '' : ` but ${ofOneCall.map((key) => `--${flagName(key)}`).join(', ')}`;
  return [
    `Usage: tidings ${[name, positionals, '[options]'].filter(Boolean).join(' ')}`,
    wrap(description, 0),
    `Options:\n${table(rows)}`,
    wrap(
      `Every option${but} can also come from the environment (${examplesOfEnvironment(options)}) ` +
        'or from the config file; flags win over the environment, the environment over the file.',
      0,
    ),
    `Examples:\n${examples.map(([line, meaning]) => `  ${line}\n      ${meaning}`).join('\n')}`,
    '',
  ].join('\n\n');
}

/** The first, and each that has another name there. */
function examplesOfEnvironment(options: Options): string {
  const shared = Object.entries(options).filter(([, { isOfOneCall }]) => !isOfOneCall);
  const shown = shared.filter(([, { sharedAs }], i) => i === 0 || sharedAs !== undefined);
  if (shown.length === 0) return `${environmentName('config')} for --config`;
  return shown
    .map(([key, option]) => `${environmentName(sharedKey(key, option))} for --${flagName(key)}`)
    .join(', ');
}

export function overview(commands: Command[]): string {
  return [
    'Usage: tidings COMMAND [options]',
    "tidings delivers messages to a named user's open pages.",
    `Commands:\n${table(commands.map(({ name, summary }) => [name, summary]))}`,
    '`tidings COMMAND --help` tells more; `tidings --version` prints the version.',
    '',
  ].join('\n\n');
}

/** Two columns; the second is wrapped under itself. */
function table(rows: [string, string][]): string {
  const column = Math.min(Math.max(...rows.map(([left]) => left.length)) + 4, 32);
  return rows
    .map(([left, right]) => {
      const body = wrap(right, column);
      const fits = left.length + 3 < column;
      return fits ? `  ${left}`.padEnd(column) + body : `  ${left}\n${' '.repeat(column)}${body}`;
    })
    .join('\n');
}

function wrap(text: string, indent: number): string {
  const paragraphs = text.split('\n').map((paragraph) => {
    const lines = [''];
    for (const word of paragraph.split(' ')) {
      const line = lines.at(-1) as string;
      if (line === '') lines[lines.length - 1] = word;
      else if (indent + line.length + 1 + word.length > WIDTH) lines.push(word);
      else lines[lines.length - 1] = `${line} ${word}`;
    }
    return lines.join(`\n${' '.repeat(indent)}`);
  });
  return paragraphs.join(`\n${' '.repeat(indent)}`);
}
