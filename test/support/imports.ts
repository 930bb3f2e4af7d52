/** Which modules a source text imports, and whether the files of a folder import each other in a circle. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The module specifiers of a source text, types included. */
export function importsOf(source: string): string[] {
  const forms = [
    /^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]/gm,
    /^\s*import\s*['"]([^'"]+)['"]/gm,
    /\b(?:import|require)\s*\(\s*['"]([^'"]+)['"]/g,
  ];
  const code = source.replace(/\/\*.*?\*\/|(?<=^|\s)\/\/.*?$/gms, '');
  return forms.flatMap((form) => [...code.matchAll(form)].map(([, specifier]) => specifier as string));
}

/** The TypeScript files below a folder, as paths from here. */
export function sourcesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((file) => join(folder, file))
    .filter((file) => file.endsWith('.ts') && !/\b(?:node_modules|dist)\b/.test(file));
}

/**
 * Groups of files that can be reached from each other by their imports, those of types included; each group
 * sorted. Empty where imports go one way only.
 *
 * @param read the text of a file; a test may hand in files that don't exist
 */
export function circles(
  files: string[],
  read: (file: string) => string = (file) => readFileSync(file, 'utf8'),
): string[][] {
  const known = new Set(files);
  const targets = new Map(
    files.map((file) => [
      file,
      importsOf(read(file))
        .filter((specifier) => specifier.startsWith('.'))
        .map((specifier) => join(dirname(file), specifier))
        .filter((target) => known.has(target)),
    ]),
  );
  const reached = new Map(files.map((file) => [file, reach(file, targets)]));
  const groups = new Map<string, string[]>();
  for (const file of files) {
    if (!reached.get(file)!.has(file)) continue;
    const group = [...reached.get(file)!].filter((other) => reached.get(other)!.has(file)).sort();
    groups.set(group.join(), group);
  }
  return [...groups.values()];
}

/** What can be reached from a file in one step or more. */
function reach(from: string, targets: Map<string, string[]>): Set<string> {
  const seen = new Set<string>();
  for (const next = [...targets.get(from)!]; next.length > 0; ) {
    const file = next.pop()!;
    if (seen.has(file)) continue;
    seen.add(file);
    next.push(...targets.get(file)!);
  }
  return seen;
}
