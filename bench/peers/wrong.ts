/** What a server of the benches notices itself, with --strict: a run in which anything was wrong has no figures. */

let first: Error | undefined;

/** Of a connection that the generator has cut, at the end of a run. In the middle, the generator notices. */
const CUT = ['ECONNRESET', 'EPIPE'];

/** For every `error` event: lets a strict process say it at its end. */
export function wrong(error: Error): void {
  // Some have put the code into a text.
  const text = `${(error as NodeJS.ErrnoException).code} ${error.message}`;
  if (CUT.some((code) => text.includes(code))) return;
  first ??= error;
}

/** The status that a strict process ends with; says why it isn't 0. */
export function exitStatus(): number {
  if (first !== undefined) console.error(first);
  return first === undefined ? 0 : 1;
}
