/** `tidings completion`: scripts with which a shell completes commands, options and their values, from the tables of these. */
import { type Command, command } from './command.ts';
import { flagName, type Option, UsageError } from './options.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** @param commandsOf the commands of the program, this one among them */
export function completion(commandsOf: () => readonly Command[]): Command {
  return command({
    name: 'completion',
    positionals: SHELLS.join('|'),
    summary: 'print a script with which your shell completes commands and options',
    description:
      'Prints a script for bash, zsh or fish, which completes the commands, their options and the words that an option may ' +
      'have. It is of this version: let the shell ask for it when it starts, or write it where the shell looks.',
    examples: [
      ['source <(tidings completion bash)', 'in ~/.bashrc'],
      ['source <(tidings completion zsh)', 'in ~/.zshrc, behind compinit'],
      ['tidings completion fish > ~/.config/fish/completions/tidings.fish', 'once for each version'],
    ],
    options: {},
    run: async ({ positionals }) => {
      const [shell, ...rest] = positionals;
      const found = SHELLS.find((each) => each === shell);
      if (found === undefined || rest.length > 0) throw new UsageError(`give one of ${SHELLS.join(', ')}`);
      console.log(SCRIPTS[found](commandsOf()));
      return 0;
    },
  });
}

type Script = (commands: readonly Command[]) => string;
const SCRIPTS: Record<(typeof SHELLS)[number], Script> = { bash, zsh, fish };

interface Completed {
  flag: string;
  /** Up to the first comma or semicolon behind enough to understand it. */
  help: string;
  /** What follows the flag: nothing, a file, a folder, one of these words, or something that can't be known. */
  value: 'none' | 'file' | 'folder' | 'any' | string[];
  isList: boolean;
}

const OF_ALL: Completed[] = [
  { flag: '--config', help: 'JSON file with settings', value: 'file', isList: false },
  { flag: '--help', help: 'Show what there is', value: 'none', isList: false },
];

function optionsOf({ options }: Command): Completed[] {
  const own = Object.entries(options).map(([key, option]) => ({
    flag: `--${flagName(key)}`,
    help: option.help.replace(/[;:.] .*$/s, ''),
    value: valueKind(option),
    isList: option.kind === 'list',
  }));
  return [...own, ...OF_ALL];
}

function valueKind({ kind, placeholder }: Option<unknown>): Completed['value'] {
  if (kind === 'flag') return 'none';
  if (/^FILE\b/.test(placeholder)) return 'file';
  if (/^FOLDER\b/.test(placeholder)) return 'folder';
  const words = placeholder.split('|').filter((word) => /^[a-z][a-z-]*$/.test(word));
  return words.length > 0 ? words : 'any';
}

/** What the command itself takes, where it is one of a few words. */
function wordsOf({ positionals, name }: Command, commands: readonly Command[]): string[] {
  if (name === 'help') return commands.map((each) => each.name);
  return /^[a-z]+(?:\|[a-z]+)+$/.test(positionals) ? positionals.split('|') : [];
}

function withHelp(commands: readonly Command[]): Command[] {
  const help: Pick<Command, 'name' | 'summary' | 'positionals' | 'options'> = {
    name: 'help',
    summary: 'what a command does, and its options',
    positionals: '',
    options: {},
  };
  return [...commands, help as Command];
}

/** In single quotes, as all three shells have them. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function bash(commands: readonly Command[]): string {
  const all = withHelp(commands);
  const values = all.flatMap((each) =>
    optionsOf(each).flatMap(({ flag, value }): [pattern: string, action: string][] => {
      const pattern = `${each.name}:${flag}`;
      if (value === 'none') return [];
      if (value === 'file') return [[pattern, bashFiles('f')]];
      if (value === 'folder') return [[pattern, bashFiles('d')]];
      if (value === 'any') return [[pattern, 'COMPREPLY=()']];
      return [[pattern, `COMPREPLY=($(compgen -W ${quoted(value.join(' '))} -- "$word"))`]];
    }),
  );
  // Those that do the same stand in one line.
  const byAction = new Map<string, string[]>();
  for (const [pattern, action] of values) byAction.set(action, [...(byAction.get(action) ?? []), pattern]);
  return `# tidings: completion for bash
_tidings() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" command="\${COMP_WORDS[1]}" words
  local IFS=$' \\t\\n'
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${quoted([...all.map(({ name }) => name), '--help', '--version'].join(' '))} -- "$word"))
    return
  fi
  # bash takes --option=value apart.
  if [[ $word == = ]]; then word=''; elif [[ $before == = ]]; then before="\${COMP_WORDS[COMP_CWORD-2]}"; fi
  case "$command:$before" in
${[...byAction].map(([action, patterns]) => `    ${patterns.join('|')}) ${action}; return ;;`).join('\n')}
  esac
  case "$command" in
${all
  .map((each) => {
    const flags = optionsOf(each).map(({ flag }) => flag);
    const words = wordsOf(each, commands);
    const set = `words=${quoted(flags.join(' '))}`;
    const or = words.length > 0 ? `; [[ $word == -* ]] || words=${quoted(words.join(' '))}` : '';
    return `    ${each.name}) ${set}${or} ;;`;
  })
  .join('\n')}
    *) return ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o bashdefault -F _tidings tidings`;
}

/** Names may have spaces; folders end with a slash. */
function bashFiles(kind: 'f' | 'd'): string {
  return `local IFS=$'\\n'; compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -${kind} -- "$word"))`;
}

function zsh(commands: readonly Command[]): string {
  const all = withHelp(commands);
  // A backslash keeps these from meaning something to _arguments and _describe.
  const escaped = (text: string): string => text.replace(/[\\[\]:]/g, '\\$&');
  const spec = ({ flag, help, value, isList }: Completed): string => {
    const name = `${isList ? '*' : ''}${flag}`;
    if (value === 'none') return quoted(`${name}[${escaped(help)}]`);
    const action =
      value === 'file'
        ? '_files'
        : value === 'folder'
          ? '_files -/'
          : value === 'any'
            ? ' '
            : `(${value.join(' ')})`;
    return quoted(`${name}=[${escaped(help)}]:value:${action}`);
  };
  return `#compdef tidings
# tidings: completion for zsh
# Where nobody can know: a message in its place would keep options from being completed.
_tidings_any() { return 1 }
_tidings() {
  local -a commands
  if ((CURRENT == 2)); then
    commands=(
${all.map(({ name, summary }) => `      ${quoted(`${name}:${escaped(summary)}`)}`).join('\n')}
    )
    _describe command commands
    return
  fi
  local name=$words[2]
  shift words
  ((CURRENT--))
  case $name in
${all
  .map((each) => {
    const words = wordsOf(each, commands);
    const rest = words.length > 0 ? `'1:word:(${words.join(' ')})'` : "'*:argument:_tidings_any'";
    return `    ${each.name})\n      _arguments \\\n${[...optionsOf(each).map(spec), rest].map((one) => `        ${one}`).join(' \\\n')}\n      ;;`;
  })
  .join('\n')}
  esac
}
if [[ $funcstack[1] == _tidings ]]; then _tidings "$@"; else compdef _tidings tidings; fi`;
}

function fish(commands: readonly Command[]): string {
  const all = withHelp(commands);
  // fish knows no '\\'' but \\' within.
  const own = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;
  return [
    '# tidings: completion for fish',
    'function __tidings_is',
    '  set -l words (commandline -opc)',
    '  test (count $words) -ge 2; and test $words[2] = $argv[1]',
    'end',
    'complete -c tidings -f',
    ...all.map(
      ({ name, summary }) =>
        `complete -c tidings -n 'test (count (commandline -opc)) -eq 1' -a ${name} -d ${own(summary)}`,
    ),
    ...all.flatMap((each) => {
      const condition = `-n '__tidings_is ${each.name}'`;
      const words = wordsOf(each, commands);
      return [
        ...(words.length > 0 ? [`complete -c tidings ${condition} -a '${words.join(' ')}'`] : []),
        ...optionsOf(each).map(({ flag, help, value }) => {
          const kind =
            value === 'none'
              ? ''
              : value === 'file'
                ? ' -r -F'
                : value === 'folder'
                  ? " -x -a '(__fish_complete_directories)'"
                  : value === 'any'
                    ? ' -x'
                    : ` -x -a '${value.join(' ')}'`;
          return `complete -c tidings ${condition} -l ${flag.slice(2)}${kind} -d ${own(help)}`;
        }),
      ];
    }),
  ].join('\n');
}
