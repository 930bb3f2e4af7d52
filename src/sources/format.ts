/** The format that messages of sources have by default: what the admin API takes at `/api/messages`, for a user or topic as well. */
import { isUtf8 } from 'node:buffer';
import { timeIn } from '../admin/time.ts';
import { checkNames, type Names } from '../option-names.ts';
import { explain } from '../push/explain.ts';
import { JsonText, keptData } from '../push/payload.ts';
import { textOfField } from '../push/talk/json-field.ts';
import { topicProblem, userProblem } from '../push/talk/names.ts';
import { MessageError, type Sending } from './driver.ts';

/** Users of one message. */
const MAX_USERS = 10_000;
const SENDING: Names<Sending> = {
  user: true,
  users: true,
  topic: true,
  data: true,
  at: true,
  ttl: true,
  replaces: true,
  idempotencyKey: true,
  idempotencyWindow: true,
  traceparent: true,
  tracestate: true,
};
const BOM = '\ufeff';

/** @throws {MessageError} for what is none */
export function decodeBody(body: Buffer): Sending {
  const text = textOf(body);
  const fields = objectOf(text, 'the message');
  const data = textOfField(text, 'data');
  if (data === undefined) throw new MessageError('the message has no data');
  return sendingOf(fields, new JsonText(data, true));
}

/** The text of a body in UTF-8. @throws {MessageError} */
export function textOf(body: Buffer): string {
  if (!isUtf8(body)) throw new MessageError('the message is not UTF-8');
  const text = body.toString();
  return text.startsWith(BOM) ? text.slice(1) : text;
}

/** @throws {MessageError} for a text that is no JSON, and JSON that is no object */
export function objectOf(text: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // What V8 says about it quotes the message.
    throw new MessageError(`${what} is not JSON`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new MessageError(`${what} is no object`);
}

/**
 * @param fields as they were read; null counts as not given, but for data
 * @throws {MessageError} for fields that there are not, and times that are none
 */
export function sendingOf(fields: Record<string, unknown>, data: unknown): Sending {
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
  const { at } = given;
  return checkedSending({ ...given, data, ...(at !== undefined && { at: timeOf(at) }) });
}

/**
 * What `map` gives is looked at as well, and copied: the application may use the same object for the next message, before it is
 * this one's turn.
 *
 * @throws {MessageError} for what says nothing that could be sent
 */
export function checkedSending(given: unknown): Sending {
  try {
    checkNames('the message', given ?? null, SENDING);
  } catch (error) {
    throw new MessageError((error as Error).message);
  }
  const sending = { ...(given as Sending) };
  const { user, users, topic, data, at } = sending;
  if ([user, users, topic].filter((each) => each !== undefined).length !== 1) {
    throw new MessageError('the message must have one of user, users and topic');
  }
  if (data === undefined) throw new MessageError('the message has no data');
  const problem =
    user === undefined
      ? topic === undefined
        ? usersProblem(users)
        : topicProblem(topic)
      : userProblem(user);
  if (problem !== undefined) throw new MessageError(problem);
  return {
    ...sending,
    data: kept(data),
    ...(users !== undefined && { users: [...users] }),
    ...(at instanceof Date && { at: at.getTime() }),
  };
}

/** @throws {MessageError} for what JSON has no form of */
function kept(data: unknown): unknown {
  try {
    return keptData(data);
  } catch (error) {
    throw new MessageError(explain(error), { cause: error });
  }
}

function usersProblem(users: unknown): string | undefined {
  if (!Array.isArray(users)) return 'users is an array of names';
  return users.length > MAX_USERS ? `a message has at most ${MAX_USERS} users` : undefined;
}

function timeOf(at: unknown): number {
  const time = typeof at === 'number' ? at : typeof at === 'string' ? timeIn(at) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  throw new MessageError('at is milliseconds since 1970, or a time such as 2026-12-24T18:00:00Z');
}
