/**
 * The interceptor that asks the application itself who a page is: when it comes, again and again while it is there, and
 * when it brings a new ticket.
 */
import { MAX_DELAY } from '../../clock.ts';
import { checkNames, type Names } from '../../option-names.ts';
import type { Backoff } from '../../waiting.ts';
import type { PushInterceptor } from '../options.ts';
import { CloseCode } from '../talk/wire.ts';
import { type Answered, Application } from './application.ts';
import { arrivalOf } from './arrival.ts';
import { checkedHeaders, DEFAULT_HEADERS } from './question.ts';
import { refusal, tryAgain } from './refusals.ts';
import { attributesOf, changesOf, leaveStanding, standingOf } from './standing.ts';

/** What `askApplication` takes. */
export interface AskApplicationOptions {
  /**
   * Where the application is asked, by GET: `http:`, `https:`, or `http+unix://%2Frun%2Fapp.sock/path` for a Unix socket.
   * User information in it goes along as `Authorization: Basic`.
   */
  url: string | URL;
  /** Milliseconds after which it is asked again whether a page may stay, or a little less. Default 300,000; 0: only when told to. */
  recheck?: number;
  /** Milliseconds for which pages may stay while the application does not answer. Default 300,000. */
  grace?: number;
  /** Milliseconds that an answer may take, and that a question may wait for its turn. Default 4,000. */
  timeout?: number;
  /** The page's headers that go along, besides its query and its address. Default `['cookie', 'origin']`. */
  headers?: readonly string[];
  /** Questions at once. Default 32. */
  concurrency?: number;
  /** Questions that may wait for their turn. Over it, pages get 503. Default 10,000. */
  waiting?: number;
  /** Questions in a row without an answer after which none is asked for a while. Default 5. */
  failures?: number;
  /** Milliseconds of that while, the first time and at most. Default 1,000 and 30,000. */
  pause?: Partial<Backoff>;
  /** Certificates of the authorities that are trusted for `https:`, in place of Node's own. */
  ca?: string | Buffer | (string | Buffer)[];
}

const NAMES: Names<AskApplicationOptions> = {
  url: true,
  recheck: true,
  grace: true,
  timeout: true,
  headers: true,
  concurrency: true,
  waiting: true,
  failures: true,
  pause: true,
  ca: true,
};
const PAUSE: Names<Backoff> = { min: true, max: true };

/** @internal */
export const NUMBERS = {
  recheck: { fallback: 300_000, least: 0 },
  grace: { fallback: 300_000, least: 0 },
  timeout: { fallback: 4_000, least: 1 },
  concurrency: { fallback: 32, least: 1 },
  waiting: { fallback: 10_000, least: 0 },
  failures: { fallback: 5, least: 1 },
};

/**
 * Asks the application whose page it is: it answers 200 with `{ user, login?, expires?, topics?, attributes? }`, 401 or
 * 403. Anything else is no answer, for which new pages get 503 with Retry-After. A page of which an interceptor before
 * this one has said whose it is, is let through.
 *
 * @throws {TypeError} for options that make no sense
 */
export function askApplication(options: AskApplicationOptions): PushInterceptor {
  checkNames('askApplication', options ?? {}, NAMES);
  if (options?.url === undefined) {
    throw new TypeError(
      "askApplication: give the url, such as askApplication({ url: 'http://127.0.0.1:8080/tidings' })",
    );
  }
  checkNames('askApplication: pause', options.pause, PAUSE);
  const { min = 1_000, max = 30_000 } = options.pause ?? {};
  if (!(min > 0 && max >= min && max <= MAX_DELAY)) throw new TypeError('pause: min and max make no sense');
  const application = new Application({
    url: checkedUrl(options.url),
    headers: checkedHeaders(options.headers ?? DEFAULT_HEADERS),
    pause: { min, max },
    ca: options.ca,
    ...numbersOf(options),
  });
  return {
    async before(request, attributes) {
      if (attributes.user !== undefined) return undefined;
      const { address, log } = arrivalOf(request);
      const question = application.questions.of(request, address);
      if (question === undefined) return refusal(400, 'a header has characters that can not be passed on');
      const answered = await application.ask(question, log);
      if (!('known' in answered)) return refusalOf(answered, application);
      const { known, asked } = answered;
      Object.assign(attributes, attributesOf(known));
      leaveStanding(attributes, { application, question, known, asked, log });
      return undefined;
    },

    async renew(ticket, session) {
      const standing = standingOf(session.attributes);
      if (standing?.application !== application) return undefined;
      const { known: before, log } = standing;
      const question =
        ticket === undefined ? standing.question : application.questions.with(ticket, standing.question);
      if (question === undefined) return refusal(401, 'this is no ticket');
      const answered = await application.ask(question, log, { isNew: true });
      if ('known' in answered) {
        const { known, asked } = answered;
        if (known.user !== before.user) return refusal(403, 'somebody else has signed in');
        leaveStanding(session.attributes, { application, question, known, asked, log });
        return { ...changesOf(before, known), user: session.user };
      }
      // A ticket may be wrong, and the page may stay by its old one. What it came with is no good any more.
      const isOver = ticket === undefined && 'refused' in answered && answered.refused === 401;
      if (isOver) session.close(CloseCode.NOT_AUTHENTICATED, 'the login has ended');
      return refusalOf(answered, application);
    },
  };
}

function refusalOf(answered: Exclude<Answered, { known: unknown }>, { retryAfter }: Application): Response {
  if ('problem' in answered) return tryAgain('who this is can not be asked just now', retryAfter);
  if (answered.refused === 401) return refusal(401, 'the application does not know whose page this is');
  return refusal(403, 'the application does not let this page in');
}

function checkedUrl(given: string | URL): URL {
  let url: URL;
  try {
    url = new URL(given);
    decodeURIComponent(url.host + url.username + url.password);
  } catch {
    throw new TypeError('url: not an address such as http://127.0.0.1:8080/who');
  }
  if (!['http:', 'https:', 'http+unix:'].includes(url.protocol) || url.host === '') {
    throw new TypeError(`url: ${url.protocol}// is none of http://, https:// and http+unix://`);
  }
  return url;
}

function numbersOf(options: AskApplicationOptions): Record<keyof typeof NUMBERS, number> {
  const numbers = Object.entries(NUMBERS).map(([name, { fallback, least }]) => {
    const value = options[name as keyof typeof NUMBERS] ?? fallback;
    if (!Number.isSafeInteger(value) || value < least || value > MAX_DELAY) {
      throw new TypeError(`${name} is ${String(value)}, and must be a whole number from ${least}`);
    }
    return [name, value];
  });
  return Object.fromEntries(numbers);
}
