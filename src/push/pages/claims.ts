/**
 * What interceptors say of a session: who it is, by which login, and until when. They are the application's, so it is
 * looked at before anything is built on it.
 */
import type { Attributes } from '../../server/transport.ts';
import { loginProblem, topicProblem, userProblem } from '../talk/names.ts';

export interface Claims {
  user: string;
  /** The id of the login or session at the application. */
  login: string | undefined;
  /** When the login ends, in milliseconds since 1970. */
  expires: number | undefined;
  /** To be subscribed to without being asked, each once. */
  topics: readonly string[] | undefined;
}

/** What was said can't be. */
export class ClaimsError extends TypeError {
  /** Whether the name is at fault, which may be the page's own; the rest is the application's. */
  readonly isUser: boolean;
  constructor(message: string, isUser = false) {
    super(message);
    this.isUser = isUser;
  }
}

/**
 * @param maxTopics how many topics one session may have
 * @returns undefined where nobody has said who the user is
 * @throws {ClaimsError}
 */
export function claimsOf(attributes: Attributes, maxTopics: number): Claims | undefined {
  const { user, login, expires, topics } = attributes;
  if (user === undefined) return undefined;
  const unfit = userProblem(user);
  if (unfit !== undefined) throw new ClaimsError(unfit, true);
  const problem = login === undefined ? undefined : loginProblem(login);
  if (problem !== undefined) throw new ClaimsError(problem);
  // Not `Infinity` either, which no frame can say.
  if (expires !== undefined && !Number.isFinite(expires)) {
    throw new ClaimsError('`expires` is no number of milliseconds since 1970');
  }
  return { user, login, expires, topics: topics === undefined ? undefined : topicsOf(topics, maxTopics) };
}

function topicsOf(topics: readonly unknown[], most: number): readonly string[] {
  if (!Array.isArray(topics)) throw new ClaimsError('`topics` is no array');
  if (topics.length > most) throw new ClaimsError(`more than ${most} \`topics\``);
  // Its holes, too.
  const named = Array.from(topics as unknown[]);
  for (const topic of named) {
    const problem = topicProblem(topic);
    if (problem !== undefined) throw new ClaimsError(`\`topics\`: ${problem}`);
  }
  return [...new Set(named as string[])];
}
