/** What scripts/typescript.mjs has Node call for each module. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** What was made of each file of ours, with a digest of its text: to make it anew costs more than most tests do. */
const CACHE = join(ROOT, 'node_modules/.cache/tidings-typescript');
const DIGEST = 40;

/** A file of ours named by another is where it says: that is known without a look at the disk. */
export function resolve(specifier, context, nextResolve) {
  const from = context.parentURL ?? '';
  if (!/^\.{1,2}\/.*\.ts$/.test(specifier) || !from.startsWith('file:') || from.includes('/node_modules/')) {
    return nextResolve(specifier, context);
  }
  return { url: new URL(specifier, from).href, format: 'module', shortCircuit: true };
}

/** Whether it is TypeScript of this project. */
export function isOurs(url) {
  return url.startsWith('file:') && /\.ts(?:\?|$)/.test(url) && !url.includes('/node_modules/');
}

export function load(url, context, nextLoad) {
  if (!isOurs(url)) return nextLoad(url, context);
  const source = withoutTypes(url, readFileSync(fileURLToPath(url), 'utf8'));
  return { format: 'module', source, shortCircuit: true };
}

/** @param text what is in the file */
export function withoutTypes(url, text) {
  const path = fileURLToPath(url);
  const digest = createHash('sha1').update(text).digest('hex');
  const kept = join(CACHE, relative(ROOT, path).replaceAll(/[^\w.-]/g, '_'));
  try {
    const found = readFileSync(kept, 'utf8');
    if (found.startsWith(digest)) return found.slice(DIGEST);
  } catch {
    // Not kept yet.
  }
  const code = stripped(path, text);
  try {
    mkdirSync(CACHE, { recursive: true });
    // Processes that start together write the same; none may read half of it.
    const own = `${kept}.${process.pid}`;
    writeFileSync(own, digest + code);
    renameSync(own, kept);
  } catch {
    // A folder that may not be written: it goes without.
  }
  return code;
}

function stripped(path, text) {
  // Only where something is to be made: to load it takes long.
  const { transformSync } = require('@swc/wasm-typescript');
  try {
    return transformSync(text, { mode: 'strip-only', filename: path }).code;
  } catch (problem) {
    // No Error, but an object with its properties.
    const { message = problem, snippet = '', startLine = 1 } = problem;
    throw new SyntaxError(`${path}:${startLine}: ${message}\n${snippet}`);
  }
}
