/** Names of options: one that there is not is refused, with the one that was probably meant. */

/** Every name that `T` has, and no other: so the compiler keeps lists of names true. */
export type Names<T> = { readonly [K in keyof Required<T>]: true };

/** Of more candidates than these not all are listed. */
const MAX_LISTED = 8;

/**
 * @param where as whoever gave them knows them: `limits`; of `known`, what else there is is nested below other names
 * @param nested names that belong one level deeper, by where that is
 * @throws {TypeError} for what is no object, or has a name that there is not. One whose value is undefined does not count
 */
export function checkNames(
  where: string,
  given: unknown,
  known: object,
  nested: Readonly<Record<string, object>> = {},
): void {
  if (given === undefined) return;
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new TypeError(`${where} must be an object with ${listed(Object.keys(known))}`);
  }
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || Object.hasOwn(known, name)) continue;
    const inner = Object.keys(nested).find((group) => Object.hasOwn(nested[group]!, name));
    const likely = inner === undefined ? nearest(name, Object.keys(known)) : `${inner}.${name}`;
    const hint = likely === undefined ? `there are ${listed(Object.keys(known))}` : `is ${likely} meant?`;
    throw new TypeError(`${where}: there is no ${printable(name)}; ${hint}`);
  }
}

/**
 * The same for what the application may have more of than we know, such as an object of its own with methods: refuses
 * only a method whose name looks like one of ours that is not there, and what should be a method and is none.
 *
 * @throws {TypeError}
 */
export function checkMethods(where: string, given: unknown, known: object): void {
  if (given === undefined) return;
  if ((typeof given !== 'object' && typeof given !== 'function') || given === null) {
    throw new TypeError(`${where} must be an object with ${listed(Object.keys(known))}`);
  }
  const methods = given as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(known)) {
    if (methods[name] !== undefined && typeof methods[name] !== 'function') {
      throw new TypeError(`${where}.${name} must be a function`);
    }
  }
  const missing = Object.keys(known).filter((name) => methods[name] === undefined);
  for (const [name, value] of Object.entries(given)) {
    if (typeof value !== 'function' || Object.hasOwn(known, name)) continue;
    const likely = closest(name, missing);
    if (likely === undefined) continue;
    throw new TypeError(`${where}: there is no ${printable(name)}; is ${likely} meant?`);
  }
}

/** The candidate that a typing error most likely meant: at most two edits away. */
export function closest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = 3;
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate);
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** The candidate that is nearest, as long as it has something of the word. */
function nearest(word: string, candidates: readonly string[]): string | undefined {
  const lower = word.toLowerCase();
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const other = candidate.toLowerCase();
    const distance = Math.min(editDistance(lower, other), partOf(lower, other), partOf(other, lower));
    if (distance < least && distance <= Math.max(2, other.length / 2)) [best, least] = [candidate, distance];
  }
  return best;
}

/** As a distance: little where one name is the beginning or the end of the other, more where it is inside. */
function partOf(part: string, whole: string): number {
  if (part.length < 3 || !whole.includes(part)) return Number.POSITIVE_INFINITY;
  if (whole.startsWith(part)) return 0.5;
  return whole.endsWith(part) ? 0.6 : 2;
}

function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 100) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] as number;
}

function listed(names: readonly string[]): string {
  if (names.length > MAX_LISTED) return `${names.slice(0, MAX_LISTED).join(', ')} and others`;
  if (names.length < 2) return names.join('');
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

function printable(name: string): string {
  return /^[\w$.-]{1,64}$/.test(name) ? name : JSON.stringify(name.slice(0, 64));
}
