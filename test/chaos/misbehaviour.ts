/** What a callback of an application may do instead of what it is for. */

export const misbehaviours = ['throw', 'reject', 'hang', 'null'] as const;
export type Misbehaviour = (typeof misbehaviours)[number];

/** `null`: it throws, and not even an Error. */
export function misbehave(how: Misbehaviour): unknown {
  if (how === 'throw') throw new Error('the application has a bug');
  if (how === 'null') throw null;
  if (how === 'reject') return Promise.reject(new Error('the application has a bug'));
  return new Promise(() => {});
}
