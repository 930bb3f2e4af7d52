/** `--limit NAME=N`: every bound of the push server that a number can set. docs/configuration.md lists them. */
import { closest } from '../option-names.ts';
import type { Retention } from '../pubsub/store/broker.ts';
import { DEFAULT_LIMITS, DEFAULT_RETENTION, type Limits } from '../push/options.ts';
import { list, reloaded, UsageError } from './options.ts';

export interface Bounds {
  limits: Limits;
  retention: { inbox: Retention; topic: Retention };
}

export const limitOption = reloaded(
  'at once',
  list(
    'NAME=N',
    'Change one of the limits in docs/configuration.md, such as message=65536; may be repeated',
    /[\s,]+/,
  ),
);

/** Those that 0 does not turn off. */
const NEVER_OFF = [
  'message',
  'outbox',
  'subscriptions',
  'helloTimeout',
  'answer',
  'inboxMessages',
  'inboxAge',
  'topicMessages',
  'topicAge',
];

export const defaultBounds: Record<string, number> = {
  ...DEFAULT_LIMITS,
  inboxMessages: DEFAULT_RETENTION.inbox.maxMessages,
  inboxAge: DEFAULT_RETENTION.inbox.maxAge,
  topicMessages: DEFAULT_RETENTION.topic.maxMessages,
  topicAge: DEFAULT_RETENTION.topic.maxAge,
};

/** @throws {UsageError} for a name that there isn't, or a value that can't be */
export function parseLimits(texts: string[]): Bounds {
  const bounds = { ...defaultBounds };
  const seen = new Set<string>();
  for (const text of texts) {
    const [, name = text, value = ''] = /^(.*?)=(.*)$/s.exec(text) ?? [];
    if (seen.has(name)) throw new UsageError(`--limit: ${name} is given more than once`);
    seen.add(name);
    if (!Object.hasOwn(bounds, name)) {
      const likely = closest(name, Object.keys(bounds));
      throw new UsageError(
        `--limit: unknown name '${name}'${likely === undefined ? '' : `; did you mean ${likely}?`}`,
      );
    }
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    const least = NEVER_OFF.includes(name) ? 1 : 0;
    if (!(number >= least)) {
      throw new UsageError(`--limit: '${text}' must be ${name}=N with a whole number from ${least}`);
    }
    bounds[name] = number;
  }
  const { inboxMessages, inboxAge, topicMessages, topicAge, ...limits } = bounds;
  return {
    limits: limits as unknown as Limits,
    retention: {
      inbox: { maxMessages: inboxMessages as number, maxAge: inboxAge as number },
      topic: { maxMessages: topicMessages as number, maxAge: topicAge as number },
    },
  };
}
