/**
 * The application as one that is asked by HTTP who a page is. Equal questions under way are one; so many are asked at a
 * time and so many wait; who does not answer is left alone for a while. It is never followed to another address, and
 * whatever it does ends no more than the question.
 */
import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { finished } from 'node:stream';
import { monotonicNow } from '../../clock.ts';
import { afterReading, type Backoff, Turns } from '../../waiting.ts';
import { Complaints } from '../complaints.ts';
import { printable } from '../explain.ts';
import type { Log } from '../options.ts';
import {
  type Answer,
  answerOfBody,
  answerOfHead,
  away,
  MAX_ANSWER,
  type Problem,
  tooLong,
} from './answer.ts';
import { Breaker } from './breaker.ts';
import { type Question, Questions } from './question.ts';

/** What `Retry-After` says where nothing better is known, in seconds. */
const RETRY_AFTER = 5;
/** A kept connection was closed by the application at the moment in which it was used again. */
const STALE = ['ECONNRESET', 'EPIPE'];

export interface ApplicationSettings {
  url: URL;
  headers: readonly string[];
  recheck: number;
  grace: number;
  timeout: number;
  concurrency: number;
  waiting: number;
  failures: number;
  pause: Backoff;
  ca: string | Buffer | (string | Buffer)[] | undefined;
}

/** How it was answered, and when it was asked, by the monotonic clock. */
export type Answered = Answer & { asked: number };

interface UnderWay {
  answered: Promise<Answered>;
  /** For those who want it asked after they came. */
  next: Promise<Answered> | undefined;
}

export class Application {
  readonly questions: Questions;
  /** Milliseconds between two questions about the same page; 0: only when told to. */
  readonly recheck: number;
  /** Milliseconds for which pages may stay while there is no answer. */
  readonly grace: number;
  /** For log lines: without user information and query. */
  readonly #name: string;
  readonly #settings: ApplicationSettings;
  readonly #target: { [name: string]: unknown };
  readonly #isSecure: boolean;
  readonly #turns: Turns;
  /** Questions that wait for their turn, or have it. */
  #open = 0;
  readonly #breaker: Breaker;
  readonly #complaints = new Complaints();
  readonly #underWay = new Map<string, UnderWay>();

  constructor(settings: ApplicationSettings) {
    const { url, headers, concurrency, ca } = settings;
    this.#settings = settings;
    this.recheck = settings.recheck;
    this.grace = settings.grace;
    const { protocol, hostname, port, host } = url;
    const socketPath = protocol === 'http+unix:' ? decodeURIComponent(host) : undefined;
    this.#isSecure = protocol === 'https:';
    const Agent = this.#isSecure ? HttpsAgent : HttpAgent;
    this.#target = {
      agent: new Agent({ keepAlive: true, maxFreeSockets: concurrency, scheduling: 'lifo' }),
      ...(socketPath === undefined
        ? { hostname: hostname.replace(/^\[(.*)\]$/, '$1'), ...(port !== '' && { port }) }
        : { socketPath, headers: { host: 'localhost' } }),
      ...(this.#isSecure && { rejectUnauthorized: true, ...(ca !== undefined && { ca }) }),
    };
    this.#name = printable(
      socketPath === undefined ? url.origin + url.pathname : `${socketPath} ${url.pathname}`,
    );
    this.questions = new Questions(url, headers, authorizationOf(url));
    this.#turns = new Turns(concurrency);
    this.#breaker = new Breaker(settings.failures, settings.pause);
  }

  /**
   * @param log is told what is wrong, each kind once in a while
   * @param isNew whether an answer counts only if it was asked for from now on
   * @returns never rejects
   */
  ask(question: Question, log: Log, { isNew = false }: { isNew?: boolean } = {}): Promise<Answered> {
    const known = this.#underWay.get(question.key);
    if (known !== undefined && !isNew) return known.answered;
    if (known !== undefined) {
      known.next ??= known.answered.then(() => this.ask(question, log));
      return known.next;
    }
    const answered = this.#inTurn(question, log).then((answer) => {
      this.#underWay.delete(question.key);
      if ('problem' in answer) this.#complain(answer.problem, log);
      return answer;
    });
    this.#underWay.set(question.key, { answered, next: undefined });
    return answered;
  }

  /** Seconds after which a page may come again that was not let in because of a problem. */
  get retryAfter(): number {
    return this.#breaker.isOpen ? Math.max(1, Math.ceil(this.#breaker.wait / 1000)) : RETRY_AFTER;
  }

  async #inTurn(question: Question, log: Log): Promise<Answered> {
    const came = monotonicNow();
    const { concurrency, waiting, timeout } = this.#settings;
    if (!this.#breaker.lets) return { problem: LEFT_ALONE, asked: came };
    if (this.#open >= concurrency + waiting) {
      return { problem: tooMany(`${waiting} questions wait already`), asked: came };
    }
    this.#open++;
    return new Promise((resolve) => {
      // The turn lasts until the connection is free again, which can be after the answer.
      const turn = this.#turns.run(async () => {
        const asked = monotonicNow();
        if (asked - came > timeout) {
          resolve({ problem: tooMany(`a question has waited for more than ${timeout} ms`), asked });
        } else if (!this.#breaker.enter()) {
          resolve({ problem: LEFT_ALONE, asked });
        } else {
          await this.#send(question, (answer) => {
            this.#judge(answer, log);
            resolve({ ...answer, asked });
          });
        }
      });
      void turn.then(() => this.#open--);
    });
  }

  #judge(answer: Answer, log: Log): void {
    if ('problem' in answer && answer.problem.isAway) {
      if (!this.#breaker.failed()) return;
      const seconds = (this.#breaker.wait / 1000).toFixed(1);
      log('warn', `the application at ${this.#name} is away: asked again in ${seconds} s, and then rarer`, {
        event: 'application-away',
        application: this.#name,
      });
    } else if (this.#breaker.succeeded()) {
      log('warn', `the application at ${this.#name} is back`, {
        event: 'application-back',
        application: this.#name,
      });
    }
  }

  #complain(problem: Problem, log: Log): void {
    if (problem === LEFT_ALONE) return;
    const { kind, text } = problem;
    const line = `who a page is can't be asked of the application at ${this.#name}: ${printable(text)}`;
    this.#complaints.say(log, 'warn', kind, line, {
      event: 'application-unclear',
      reason: kind,
      application: this.#name,
      error: text,
    });
  }

  /** @param tell called once. @returns resolves when the connection is free again */
  #send(question: Question, tell: (answer: Answer) => void): Promise<void> {
    return new Promise((resolve) => {
      let isTold = false;
      let request: ClientRequest | undefined;
      const told = (answer: Answer): void => {
        if (isTold) return;
        isTold = true;
        tell(answer);
      };
      const { timeout } = this.#settings;
      const callOff = afterReading(timeout, () => {
        told({ problem: away('timeout', `no answer within ${timeout} ms`) });
        request?.destroy();
      });
      const ended = (answer: Answer): void => {
        callOff();
        told(answer);
        resolve();
      };
      const attempt = (isSecond: boolean): void => {
        let error: NodeJS.ErrnoException | undefined;
        let hasAnswer = false;
        const over = (): void => ended({ problem: away('error', problemText(error)) });
        try {
          request = this.#request(question, isSecond);
        } catch (thrown) {
          ended({ problem: away('error', problemText(thrown as Error)) });
          return;
        }
        const own = request;
        own.on('response', (response) => {
          hasAnswer = true;
          read(response, told);
          finished(response, over);
        });
        own.on('error', (problem) => {
          error = problem;
        });
        own.on('close', () => {
          // Its end can come later, where the connection's end is that of the answer.
          if (hasAnswer) return;
          const isStale = own.reusedSocket && STALE.includes(error?.code ?? '');
          if (isStale && !isSecond && !isTold) attempt(true);
          else over();
        });
        own.end();
      };
      attempt(false);
    });
  }

  #request(question: Question, isFresh: boolean): ClientRequest {
    const { headers, ...target } = this.#target as { headers?: object };
    return (this.#isSecure ? requestHttps : requestHttp)({
      ...target,
      ...(isFresh && { agent: false }),
      method: 'GET',
      path: this.questions.targetOf(question),
      headers: { ...question.headers, ...headers },
    });
  }
}

const LEFT_ALONE = away('away', 'it has not answered, and is left alone for a while');

function tooMany(text: string): Problem {
  return { kind: 'busy', text, isAway: false };
}

/** Up to its end, or to what is too much of it. */
function read(response: IncomingMessage, tell: (answer: Answer) => void): void {
  const { statusCode = 0, headers } = response;
  const early = answerOfHead(statusCode, headers);
  if (early !== undefined) tell(early);
  let chunks: Buffer[] = [];
  let size = 0;
  response.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_ANSWER) {
      tell(tooLong());
      response.destroy();
    } else if (early === undefined) {
      chunks.push(chunk);
      // Many little ones would cost more than what is in them.
      if (chunks.length > 1000) chunks = [Buffer.concat(chunks)];
    }
  });
  response.on('end', () => {
    if (response.complete && early === undefined) tell(answerOfBody(Buffer.concat(chunks)));
  });
}

function problemText(error: Error | undefined): string {
  if (error === undefined) return 'the connection ended before the answer did';
  const { code, message, errors } = error as NodeJS.ErrnoException & { errors?: Error[] };
  // Where each of several addresses has failed, the whole has no message of its own.
  return message || errors?.[0]?.message || code || error.name;
}

/** What its own address says of us. */
function authorizationOf({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Basic ${Buffer.from(credentials).toString('base64')}`;
}
