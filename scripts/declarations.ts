/** For the build: the declarations of the package, once, for whoever imports or requires it. */
import { readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseAst } from 'rolldown/parseAst';

const SPECIFIER = /(\b(?:from|import\(|import|declare module) ?)(['"])(\.[^'"]+)\.ts\2/g;

/**
 * Keeps in `folder`, where the compiler has put a declaration for each module, what the entries lead to, name by name: what is
 * ours alone nobody finds there. Files name each other as files of JavaScript, as every compiler understands.
 * @param entries paths below `folder`, without `.d.ts`
 */
export function pruneDeclarations(folder: string, entries: string[]): void {
  const modules = new Map<string, Module>();
  const moduleOf = (file: string): Module => {
    let module = modules.get(file);
    if (module === undefined) {
      module = new Module(file, moduleOf);
      modules.set(file, module);
    }
    return module;
  };
  for (const entry of entries) moduleOf(join(folder, `${entry}.d.ts`)).keep(ALL);
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile()) continue;
    const text = modules.get(path)?.text() ?? '';
    if (text === '') rmSync(path);
    else writeFileSync(path, text);
  }
  removeEmpty(folder);
}

/** In the place of a name: all that a module exports. */
const ALL = '*';

/** The parts of a syntax tree that count here. */
interface Node {
  type: string;
  start: number;
  end: number;
  name?: string;
  value?: unknown;
  id?: Node | null;
  declaration?: Node | null;
  declarations?: Node[];
  source?: Node | null;
  /** Of `import('…').name`. */
  qualifier?: Node | null;
  left?: Node;
  exported?: Node | null;
  imported?: Node;
  local?: Node;
  specifiers?: Node[];
}

/** One of a module's statements. */
interface Statement {
  node: Node;
  /** With the comment before it. */
  text: string;
  /** What it declares; empty for imports and exports of what is declared elsewhere. */
  names: string[];
  /** Of an import or an export: the specifiers that somebody asked for. */
  asked: Set<Node>;
  isKept: boolean;
}

class Module {
  readonly #file: string;
  readonly #moduleOf: (file: string) => Module;
  readonly #statements: Statement[];
  readonly #kept = new Set<string>();

  constructor(file: string, moduleOf: (file: string) => Module) {
    this.#file = file;
    this.#moduleOf = moduleOf;
    const text = readFileSync(file, 'utf8').replace(SPECIFIER, "$1'$3.js'");
    let last = 0;
    this.#statements = (parseAst(text, { lang: 'dts' }).body as unknown as Node[]).map((node) => {
      const start = last;
      last = node.end;
      return { node, text: text.slice(start, last), names: declared(node), asked: new Set(), isKept: false };
    });
  }

  /** Keeps what is exported by that name, and all that it speaks of. */
  keep(name: string): void {
    if (this.#kept.has(name)) return;
    this.#kept.add(name);
    for (const statement of this.#statements) {
      const { node, names } = statement;
      const { source, specifiers = [] } = node;
      if (node.type === 'ExportAllDeclaration') {
        const { exported } = node;
        if (exported && name !== ALL && exported.name !== name) continue;
        statement.isKept = true;
        this.#from(source)?.keep(exported ? ALL : name);
      } else if (node.type === 'ExportNamedDeclaration' && !node.declaration) {
        for (const specifier of specifiers) {
          if (name !== ALL && specifier.exported!.name !== name) continue;
          statement.isKept = true;
          statement.asked.add(specifier);
          if (source) this.#from(source)?.keep(specifier.local!.name!);
          else this.#declare(specifier.local!.name!);
        }
        // `export {}`: there is nothing to it but that this is a module.
        if (specifiers.length === 0) statement.isKept = true;
      } else if (node.type === 'ExportDefaultDeclaration') {
        if (name === 'default' || name === ALL) this.#take(statement);
      } else if (/^Export/.test(node.type)) {
        if (name === ALL || names.includes(name)) this.#take(statement);
      } else if (!isImport(node) && (names.length === 0 || name === ALL)) {
        // What it says of all the world, and what a file without exports has.
        this.#take(statement);
      } else if (isImport(node) && specifiers.length === 0) {
        statement.isKept = true;
        this.#from(source)?.keep(ALL);
      }
    }
  }

  /** @returns what is left of it, indented by tabs, as these take less room */
  text(): string {
    return this.#statements
      .filter(({ isKept }) => isKept)
      .map(({ node, text, asked }) => (asked.size === 0 ? text : onlyAsked(node, text, asked)))
      .join('')
      .replace(/^(?: {4})+/gm, (spaces) => '\t'.repeat(spaces.length / 4))
      .replace(/^\s+|\s*$/g, '')
      .replace(/(?<=.)$/s, '\n');
  }

  /** Keeps what goes by that name within the module, be it declared or imported. */
  #declare(name: string): void {
    for (const statement of this.#statements) {
      if (statement.names.includes(name)) this.#take(statement);
      if (!isImport(statement.node)) continue;
      for (const specifier of statement.node.specifiers ?? []) {
        if (specifier.local!.name !== name) continue;
        statement.isKept = true;
        statement.asked.add(specifier);
        const of = { ImportSpecifier: specifier.imported?.name, ImportDefaultSpecifier: 'default' };
        this.#from(statement.node.source)?.keep(of[specifier.type as keyof typeof of] ?? ALL);
      }
    }
  }

  #take(statement: Statement): void {
    if (statement.isKept) return;
    statement.isKept = true;
    for (const node of within(statement.node)) {
      if (node.type === 'Identifier') this.#declare(node.name!);
      else if (node.type === 'TSImportType') this.#from(node.source)?.keep(leftmost(node.qualifier));
    }
  }

  /** Undefined for a module of somebody else's. */
  #from(source: Node | null | undefined): Module | undefined {
    const specifier = String(source?.value);
    if (!specifier.startsWith('.')) return undefined;
    return this.#moduleOf(join(dirname(this.#file), specifier.replace(/\.js$/, '.d.ts')));
  }
}

const isImport = ({ type }: Node): boolean => type === 'ImportDeclaration';

function declared(node: Node): string[] {
  const { id, declarations } = node.declaration ?? node;
  const ids = declarations?.map((each) => each.id) ?? [id];
  // A module of another name has no name here.
  return ids.flatMap((each) => (each?.type === 'Identifier' && each.name !== 'global' ? [each.name!] : []));
}

function onlyAsked({ start, end, specifiers = [] }: Node, text: string, asked: Set<Node>): string {
  if (specifiers.every((specifier) => asked.has(specifier))) return text;
  const whole = text.slice(text.length - (end - start));
  const before = text.slice(0, text.length - (end - start));
  const named = [...asked].filter(({ type }) => /^(?:Import|Export)Specifier$/.test(type));
  const others = [...asked].filter((specifier) => !named.includes(specifier));
  const textOf = (specifier: Node): string => whole.slice(specifier.start - start, specifier.end - start);
  const list = [...others.map(textOf), ...(named.length > 0 ? [`{ ${named.map(textOf).join(', ')} }`] : [])];
  const [, head] = /^((?:import|export)(?: type(?= [{*\w]))?)/.exec(whole)!;
  return `${before}${head} ${list.join(', ')}${/\s*from '[^']*';$/.exec(whole)?.[0] ?? ';'}`;
}

/** The first name of `a.b.c`. */
function leftmost(node: Node | null | undefined): string {
  if (!node) return ALL;
  return node.left ? leftmost(node.left) : node.name!;
}

/** The nodes of a syntax tree. */
export function* within(node: object): Generator<Node> {
  if ('type' in node) yield node as Node;
  for (const value of Object.values(node))
    if (typeof value === 'object' && value !== null) yield* within(value);
}

function removeEmpty(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeEmpty(join(folder, entry.name));
  if (readdirSync(folder).length === 0) rmdirSync(folder);
}
