/**
 * What stands between a valid opening handshake and a connection: the interceptors, and ws's `verifyClient`.
 * Either may take its time, within the handshake's timeout.
 */

import type { EventEmitter } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { arm, disarm, type Expirable } from './deadlines.ts';
import { throwLater } from './throw-later.ts';
import type { Attributes, Interceptor, Transport } from './transport.ts';

/** What `verifyClient` is told of a handshake. */
export interface VerifyInfo<R extends IncomingMessage = IncomingMessage> {
  /** The Origin header. Undefined where there is none, whatever the type says for ws's sake. */
  origin: string;
  /** Whether the connection is encrypted. */
  secure: boolean;
  /** The request. */
  req: R;
}
/** The answer of `verifyClient`: whether it may come in, and else the HTTP status, its text and headers. */
export type VerifyCallback = (
  verified: boolean,
  code?: number,
  message?: string,
  headers?: OutgoingHttpHeaders,
) => void;
/** With one parameter it answers by what it returns, or what that promises. What it throws is answered with 500, and surfaces. */
export type VerifyClientCallbackSync<R extends IncomingMessage = IncomingMessage> = (
  info: VerifyInfo<R>,
) => boolean;
/** With two parameters it answers by the callback. */
export type VerifyClientCallbackAsync<R extends IncomingMessage = IncomingMessage> = (
  info: VerifyInfo<R>,
  done: VerifyCallback,
) => void;
/** Either of them, as one function: of two, the compiler would not know the types of `info`. */
export type VerifyClient<R extends IncomingMessage = IncomingMessage> = (
  info: VerifyInfo<R>,
  done: VerifyCallback,
) => unknown;

/** Writes the HTTP answer of a refusal. */
export type Refuse = (
  status: number,
  body?: string | Uint8Array,
  headers?: Readonly<Record<string, string | number | readonly string[] | undefined>>,
) => void;

export interface AdmissionRules {
  interceptors: readonly Interceptor[];
  verifyClient: VerifyClient | null;
  /** Milliseconds for all of it. 0: no limit. */
  handshakeTimeout: number;
}

/** How a handshake has ended, where the application had no part in that. */
export type HandshakeEnding =
  /** An interceptor, or verifyClient, has refused it. */
  | 'REFUSED'
  /** It took too long. */
  | 'TIMEOUT'
  /** The client has gone. */
  | 'GONE'
  /** The server has. */
  | 'CLOSING'
  /** It was none: it was only asked whose request this is. */
  | 'ASKED';

/** What interceptors are told as the reason. */
export class HandshakeEndError extends Error {
  readonly code: HandshakeEnding;
  /** What it was answered with; 0 for nothing. */
  readonly status: number;

  constructor(code: HandshakeEnding, message: string, status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export class Admission implements Expirable {
  deadline: Expirable['deadline'] = null;
  /** What the interceptors have put there. */
  readonly attributes: Attributes = {};
  readonly #request: IncomingMessage;
  readonly #connection: EventEmitter;
  readonly #write: Refuse;
  readonly #rules: AdmissionRules;
  readonly #origin: string | undefined;
  readonly #admitted: (admission: Admission) => void;
  readonly #refused: (status: number, error: Error) => void;
  readonly #surface: (error: unknown) => void;
  /** Interceptors whose `before` was called. */
  #asked = 0;
  #isOver = false;
  #isWaiting = false;

  /**
   * @param connection emits `close` when the client goes
   * @param admitted called once if nobody objects
   * @param refused called once otherwise, when the answer has been written
   * @param surfaces takes what verifyClient has thrown
   */
  constructor(
    request: IncomingMessage,
    connection: EventEmitter,
    write: Refuse,
    rules: AdmissionRules,
    origin: string | undefined,
    admitted: (admission: Admission) => void,
    refused: (status: number, error: Error) => void,
    surfaces: (error: unknown) => void = throwLater,
  ) {
    this.#request = request;
    this.#connection = connection;
    this.#write = write;
    this.#rules = rules;
    this.#origin = origin;
    this.#admitted = admitted;
    this.#refused = refused;
    this.#surface = surfaces;
  }

  /** Asks the interceptors in order, at once as long as they answer at once. */
  begin(): void {
    const { interceptors } = this.#rules;
    while (!this.#isOver && this.#asked < interceptors.length) {
      const interceptor = interceptors[this.#asked++]!;
      if (interceptor.before === undefined) continue;
      let answer: ReturnType<NonNullable<Interceptor['before']>>;
      try {
        answer = interceptor.before(this.#request, this.attributes);
      } catch (error) {
        this.#fail(error);
        return;
      }
      if (isPromise(answer)) {
        this.#wait();
        answer.then(
          (response) => {
            if (response === undefined) this.begin();
            else this.#answer(response);
          },
          (error) => this.#fail(error),
        );
        return;
      }
      if (answer !== undefined) {
        this.#answer(answer);
        return;
      }
    }
    if (!this.#isOver) this.#verify();
  }

  /** Tells the interceptors how it ended, those asked last first. */
  tell(transport: Transport | undefined, error: Error | undefined): void {
    const { interceptors } = this.#rules;
    for (let i = this.#asked - 1; i >= 0; i--) {
      try {
        interceptors[i]!.after?.(this.#request, transport, error);
      } catch (thrown) {
        throwLater(thrown);
      }
    }
  }

  expire(): void {
    this.#refuse(503, new HandshakeEndError('TIMEOUT', 'The handshake took too long', 503));
  }

  #verify(): void {
    const { verifyClient } = this.#rules;
    if (verifyClient === null) {
      this.#admit();
      return;
    }
    const socket = this.#request.socket as { authorized?: boolean; encrypted?: boolean } | null;
    const info: VerifyInfo = {
      origin: this.#origin as string,
      secure: Boolean(socket?.authorized || socket?.encrypted),
      req: this.#request,
    };
    const answers = verifyClient.length < 2;
    const done: VerifyCallback = (verified, code, message, headers) =>
      this.#verified(verified, code, message, headers);
    if (!answers) this.#wait();
    let answer: unknown;
    try {
      answer = verifyClient(info, answers ? () => {} : done);
    } catch (error) {
      this.#failVisibly(error);
      return;
    }
    if (isPromise(answer)) {
      this.#wait();
      answer.then(
        (verified) => {
          if (answers) this.#verified(Boolean(verified));
        },
        (error) => this.#failVisibly(error),
      );
    } else if (answers) {
      this.#verified(Boolean(answer));
    }
  }

  #verified(
    verified: boolean,
    code?: number,
    message?: string | Uint8Array,
    headers?: OutgoingHttpHeaders,
  ): void {
    if (verified) {
      this.#admit();
      return;
    }
    const status = code || 401;
    const isStatus = Number.isInteger(status) && status >= 200 && status <= 999;
    const body = message === undefined || message instanceof Uint8Array ? message : String(message);
    const error = new Error(typeof body === 'string' ? body : 'verifyClient refused the client');
    this.#refuse(isStatus ? status : 500, error, body, headers);
  }

  /** What ws leaves to be an uncaught exception is one here, too, but the client gets its answer. */
  #failVisibly(error: unknown): void {
    this.#fail(error);
    this.#surface(error);
  }

  #wait(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#connection.once('close', this.#onClose);
    const { handshakeTimeout } = this.#rules;
    if (handshakeTimeout > 0) arm(this, handshakeTimeout);
  }

  readonly #onClose = (): void => this.#end(0, new HandshakeEndError('GONE', 'The client has gone'));

  #admit(): void {
    if (this.#isOver) return;
    this.#leave();
    this.#admitted(this);
  }

  #fail(error: unknown): void {
    this.#refuse(500, error instanceof Error ? error : new Error(String(error)));
  }

  #refuse(status: number, error: Error, body?: string | Uint8Array, headers?: OutgoingHttpHeaders): void {
    if (this.#isOver) return;
    this.#write(status, body, headers);
    this.#end(status, error);
  }

  #answer(response: Response): void {
    if (this.#isOver) return;
    if (typeof (response as Partial<Response> | null)?.arrayBuffer !== 'function') {
      this.#fail(new TypeError('An interceptor returned what is no Response'));
      return;
    }
    this.#wait();
    response.arrayBuffer().then(
      (body) => {
        if (this.#isOver) return;
        const headers: Record<string, string | string[]> = {};
        response.headers.forEach((value, name) => {
          if (name !== 'content-length' && name !== 'set-cookie') headers[headerName(name)] = value;
        });
        const cookies = response.headers.getSetCookie();
        if (cookies.length > 0) headers['Set-Cookie'] = cookies;
        this.#write(response.status, new Uint8Array(body), headers);
        const { status } = response;
        const message = `An interceptor refused the handshake with ${status}`;
        this.#end(status, new HandshakeEndError('REFUSED', message, status));
      },
      (error) => this.#fail(error),
    );
  }

  #end(status: number, error: Error): void {
    if (this.#isOver) return;
    this.#leave();
    this.tell(undefined, error);
    this.#refused(status, error);
  }

  #leave(): void {
    this.#isOver = true;
    disarm(this);
    if (this.#isWaiting) this.#connection.removeListener('close', this.#onClose);
  }
}

function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as { then?: unknown } | undefined)?.then === 'function';
}

/** In the form of the default header lines, so that it replaces them. */
function headerName(name: string): string {
  return name.replace(/(?:^|-)[a-z]/g, (letters) => letters.toUpperCase());
}
