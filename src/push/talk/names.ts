/** Which names users, topics and devices may have, and what their channels are called in the store. */
import { BROADCAST, INBOX } from './wire.ts';

const MAX_USER = 128;
const MAX_LOGIN = 256;
const MAX_TOPIC = 256;
const MAX_DEVICE = 64;
const MAX_INSTANCE = 256;
const MAX_REFERENCE = 512;
const MAX_KEY = 256;
const INBOX_PREFIX = 'user:';

/** C0, DEL, C1 and lone surrogates: nothing of these belongs into a name, a log line or a Redis key. */
const UNFIT = /[\u0000-\u001f\u007f-\u009f]|\p{Surrogate}/u;

/**
 * In a URL's path these are no names, percent-encoded or not (RFC 3986 §5.2.4): who puts one there addresses something
 * else, such as another part of the admin API.
 */
const DOTS = /^\.\.?$/;

/** Two of them are one, U+FFFD, in the store. */
const SURROGATE = /\p{Surrogate}/u;

/** What is wrong with a user's name; undefined if nothing is. */
export function userProblem(user: unknown): string | undefined {
  if (typeof user !== 'string' || user === '') return 'the user name is empty or no string';
  if (user.length > MAX_USER) return `the user name is longer than ${MAX_USER} characters`;
  if (UNFIT.test(user)) return 'the user name has control characters or lone surrogates';
  if (DOTS.test(user)) return 'the user name is . or .., which can not be part of a URL';
  return undefined;
}

/** What is wrong with the id of a login; undefined if nothing is. */
export function loginProblem(login: unknown): string | undefined {
  if (typeof login !== 'string' || login === '') return 'the login is empty or no string';
  if (login.length > MAX_LOGIN) return `the login is longer than ${MAX_LOGIN} characters`;
  if (UNFIT.test(login)) return 'the login has control characters or lone surrogates';
  if (DOTS.test(login)) return 'the login is . or .., which can not be part of a URL';
  return undefined;
}

/** What is wrong with a topic's name; undefined if nothing is. */
export function topicProblem(topic: unknown): string | undefined {
  if (typeof topic !== 'string' || topic === '') return 'the topic is empty or no string';
  if (topic.length > MAX_TOPIC) return `the topic is longer than ${MAX_TOPIC} characters`;
  if (UNFIT.test(topic)) return 'the topic has control characters or lone surrogates';
  if (DOTS.test(topic)) return 'the topic is . or .., which can not be part of a URL';
  if (topic === INBOX || topic === BROADCAST || topic.startsWith(INBOX_PREFIX)) {
    return `${topic} is not a topic: ${INBOX}, ${BROADCAST} and what begins with ${INBOX_PREFIX} are reserved`;
  }
  return undefined;
}

/** What is wrong with an instance's name; undefined if nothing is. */
export function instanceProblem(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '' || name.length > MAX_INSTANCE) {
    return `instance: a name has 1 to ${MAX_INSTANCE} characters`;
  }
  return UNFIT.test(name) ? 'instance: the name has control characters or lone surrogates' : undefined;
}

/** What is wrong with the key of a message by reference; undefined if nothing is. */
export function referenceProblem(key: unknown): string | undefined {
  if (typeof key !== 'string' || key === '' || key.length > MAX_REFERENCE) {
    return `a reference has 1 to ${MAX_REFERENCE} characters`;
  }
  if (SURROGATE.test(key)) return 'the reference has lone surrogates';
  return undefined;
}

/** What is wrong with an idempotency key; undefined if nothing is. */
export function keyProblem(key: unknown): string | undefined {
  if (typeof key !== 'string' || key.length > MAX_KEY) {
    return `an idempotency key is a string of at most ${MAX_KEY} characters`;
  }
  if (SURROGATE.test(key)) return 'the idempotency key has lone surrogates';
  return undefined;
}

/** What is wrong with the key under which messages replace each other; undefined if nothing is. */
export function replacesProblem(key: unknown): string | undefined {
  if (typeof key !== 'string' || key === '' || key.length > MAX_KEY) {
    return `what a message replaces is a key of 1 to ${MAX_KEY} characters`;
  }
  return SURROGATE.test(key) ? 'the key of what a message replaces has lone surrogates' : undefined;
}

/** What is wrong with a message's lifetime in milliseconds; undefined if nothing is. */
export function ttlProblem(ttl: unknown): string | undefined {
  if (ttl === undefined || (Number.isSafeInteger(ttl) && (ttl as number) > 0)) return undefined;
  return 'ttl is a whole number of milliseconds, at least 1';
}

/** What is wrong with the time that an idempotency key is remembered; undefined if nothing is. */
export function windowProblem(window: unknown): string | undefined {
  if (window === undefined || (typeof window === 'number' && window >= 0)) return undefined;
  return `idempotencyWindow is ${String(window)}, and must be milliseconds`;
}

export function isDevice(device: unknown): device is string {
  return typeof device === 'string' && device !== '' && device.length <= MAX_DEVICE && !UNFIT.test(device);
}

/** The channel of a user's inbox, as the broker knows it. */
export function inboxOf(user: string): string {
  return INBOX_PREFIX + user;
}

/** The same, of what may be no name. @throws {TypeError} */
export function checkedInbox(user: unknown): string {
  const problem = userProblem(user);
  if (problem !== undefined) throw new TypeError(problem);
  return inboxOf(user as string);
}

/** Whose inbox a channel is. Only for one that is an inbox. */
export function userOf(channel: string): string {
  return channel.slice(INBOX_PREFIX.length);
}

export function isInbox(channel: string): boolean {
  return channel.startsWith(INBOX_PREFIX);
}

/** The name that a channel goes by on the wire. */
export function wireName(channel: string): string {
  return isInbox(channel) ? INBOX : channel;
}
