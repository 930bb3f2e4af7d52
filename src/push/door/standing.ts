/**
 * What an interceptor leaves with a page that it has let in, so that the application can be asked again whether the page
 * may stay. It goes with the page's attributes, from the door to whoever holds its session.
 */
import type { Attributes } from '../../server/transport.ts';
import type { Log } from '../options.ts';
import type { Known } from './answer.ts';
import type { Application } from './application.ts';
import type { Question } from './question.ts';

export interface Standing {
  readonly application: Application;
  /** Pages of whom the same is asked are asked about together. */
  readonly question: Question;
  /** What was answered last. */
  known: Known;
  /** When that was asked, in milliseconds of the monotonic clock. */
  asked: number;
  readonly log: Log;
}

const standings = new WeakMap<Attributes, Standing>();

export function leaveStanding(attributes: Attributes, standing: Standing): void {
  standings.set(attributes, standing);
}

/** Undefined where nobody can be asked again. */
export function standingOf(attributes: Attributes): Standing | undefined {
  return standings.get(attributes);
}

/** What an answer says of a page that is let in. */
export function attributesOf({ user, attributes, ...claims }: Known): Attributes {
  const said = Object.entries(claims).filter(([, claim]) => claim !== undefined);
  return { ...attributes, user, ...Object.fromEntries(said) };
}

/** What it says of one that was let in by an earlier one, as `Session#renew` takes it: the user stays. */
export function changesOf(before: Known, now: Known): Attributes {
  const { user: _, ...said } = attributesOf(now);
  return { topics: [], ...ownChangesOf(before, now), ...said };
}

/** The same of what is the application's own. */
export function ownChangesOf(before: Known, now: Known): Attributes {
  const gone = Object.keys(before.attributes).filter((name) => !Object.hasOwn(now.attributes, name));
  return { ...Object.fromEntries(gone.map((name) => [name, undefined])), ...now.attributes };
}
