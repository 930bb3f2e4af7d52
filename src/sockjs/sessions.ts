/** The HTTP sessions of one SockJS server: opening them, finding them, letting go of them. */
import { monotonicNow } from '../clock.ts';
import { Admission, type AdmissionRules, HandshakeEndError } from '../server/admission.ts';
import { arm, disarm, type Expirable } from '../server/deadlines.ts';
import { asError } from '../server/handler-calls.ts';
import { bodyOf, cut } from '../server/http2-stream.ts';
import type { Traffics } from '../server/traffic.ts';
import type { Attributes, Handler, HandshakeRequest, Interceptor, Transport } from '../server/transport.ts';
import type { Bus } from './bus.ts';
import { areShown, type Credentials, credentialsOf } from './credentials.ts';
import { HttpReceiver, type Wrapping } from './http-receiver.ts';
import { type LocalSessions, Neighbours, type RemoteSession } from './neighbours.ts';
import { answer, type Exchange, fail, NO_SESSION, type Sessions } from './route.ts';
import { type Receiver, type SessionLimits, SockJsSession } from './session.ts';
import type { Sweep } from './sweep.ts';

/** Milliseconds for the interceptors. */
const HANDSHAKE_TIMEOUT = 10_000;

export interface HttpSessionLimits extends SessionLimits {
  responseLimit: number;
  maxSessions: number;
  maxSessionsPerAddress: number;
}

export interface HttpSessionsParts {
  limits: HttpSessionLimits;
  interceptors: readonly Interceptor[];
  handler: Handler<Transport>;
  addressOf: (request: HandshakeRequest) => string;
  sweep: Sweep;
  bus: Bus | undefined;
  traffic: Traffics;
}

interface Known {
  session: SockJsSession;
  /** Of whom it belongs to. */
  who: Credentials;
}

export class HttpSessions implements Sessions, LocalSessions {
  readonly #limits: HttpSessionLimits;
  readonly #rules: AdmissionRules;
  readonly #handler: Handler<Transport>;
  readonly #addressOf: (request: HandshakeRequest) => string;
  readonly #sessions = new Map<string, Known>();
  /** Those that count for their address: one that is over is only kept for late requests. */
  readonly #counted = new Map<Transport, string>();
  readonly #perAddress = new Map<string, number>();
  readonly #sweep: Sweep;
  readonly #neighbours: Neighbours | undefined;
  readonly #traffic: Traffics;
  /** Sessions that were not opened, and about which no interceptor was asked. */
  readonly turnedAway = { closing: 0, full: 0, address: 0 };
  #isClosing = false;

  constructor({ limits, interceptors, handler, addressOf, sweep, bus, traffic }: HttpSessionsParts) {
    this.#traffic = traffic;
    this.#limits = limits;
    this.#rules = { interceptors, verifyClient: null, handshakeTimeout: HANDSHAKE_TIMEOUT };
    this.#handler = {
      opened: (session, request) => handler.opened?.(session, request),
      message: (session, data, isBinary) => handler.message?.(session, data, isBinary),
      transportError: (session, error) => handler.transportError?.(session, error),
      closed: (session, code, reason) => {
        this.#discount(session);
        return handler.closed?.(session, code, reason);
      },
    };
    this.#addressOf = addressOf;
    this.#neighbours = bus && new Neighbours(bus, this, limits, limits.fence);
    this.#sweep = sweep;
  }

  get responseLimit(): number {
    return this.#limits.responseLimit;
  }

  get maxMessage(): number {
    return this.#limits.maxMessage;
  }

  /** Also those that are over, and only kept for late requests. */
  get size(): number {
    return this.#sessions.size;
  }

  find(exchange: Exchange): SockJsSession | undefined | Promise<SockJsSession | undefined> {
    const known = this.#sessions.get(exchange.id);
    if (known?.session.readyState !== 1) return undefined;
    if (areShown(known.who, this.#whoOf(exchange))) return known.session;
    return this.#isUser(known, exchange).then((isUser) => (isUser ? known.session : undefined));
  }

  receive(exchange: Exchange, wrapping: Wrapping): void {
    // A body means nothing here, but unread it would hide the end of the connection.
    exchange.request.resume();
    if (this.#neighbours === undefined || this.#sessions.has(exchange.id)) this.#begin(exchange, wrapping);
    else {
      const { response } = exchange;
      this.#look(this.#neighbours, exchange, wrapping).catch((error) => fail(response, error));
    }
  }

  take(id: string, who: Credentials, messages: string[]): boolean | Promise<unknown> {
    const known = this.#sessions.get(id);
    if (known?.session.readyState !== 1 || !areShown(known.who, who)) return false;
    const { traffic } = known.session;
    traffic.framesIn++;
    for (const message of messages) traffic.bytesIn += Buffer.byteLength(message);
    return known.session.received(messages) ?? true;
  }

  tooLong(id: string, who: Credentials): void {
    const known = this.#sessions.get(id);
    if (known !== undefined && areShown(known.who, who)) known.session.tooLong();
  }

  attach(id: string, who: Credentials, receiver: Receiver): boolean {
    const known = this.#sessions.get(id);
    if (known === undefined || !areShown(known.who, who)) return false;
    const { session } = known;
    receiver.onLost = () => {
      session.interrupted(receiver);
      session.lostFrame();
    };
    session.attach(receiver, monotonicNow());
    return true;
  }

  attributesOf(id: string): Attributes | undefined {
    return this.#sessions.get(id)?.session.attributes;
  }

  async elsewhere(exchange: Exchange): Promise<RemoteSession | undefined> {
    return this.#neighbours?.find(exchange.id, this.#whoOf(exchange));
  }

  #whoOf({ request, query }: Exchange): Credentials {
    return credentialsOf(request, this.#addressOf(request), query);
  }

  /** Whether a request from another address, or without a cookie, can show that it is the same user's. */
  #isUser({ session }: Known, { request, response }: Exchange): Promise<boolean> {
    const { user } = session.attributes;
    return new Promise((resolve) => {
      const admission = new Admission(
        request,
        response,
        () => {},
        this.#rules,
        request.headers.origin,
        () => {
          admission.tell(undefined, new HandshakeEndError('ASKED', 'It is only asked whose request this is'));
          resolve(user !== undefined && admission.attributes.user === user);
        },
        () => resolve(false),
      );
      admission.begin();
    });
  }

  #begin(exchange: Exchange, wrapping: Wrapping): void {
    const known = this.#sessions.get(exchange.id);
    if (known === undefined) {
      this.#open(exchange, wrapping);
      return;
    }
    const attach = (): void => {
      const receiver = new HttpReceiver(exchange.response, wrapping, this.#traffic[wrapping.kind]);
      receiver.bind(known.session);
      known.session.attach(receiver, monotonicNow());
    };
    const { response } = exchange;
    if (areShown(known.who, this.#whoOf(exchange))) attach();
    else {
      this.#isUser(known, exchange)
        .then((isUser) => {
          if (bodyOf(response).destroyed) return;
          if (isUser) attach();
          else answer(response, 404, NO_SESSION);
        })
        .catch((error) => fail(response, error));
    }
  }

  async #look(neighbours: Neighbours, exchange: Exchange, wrapping: Wrapping): Promise<void> {
    const { response, id } = exchange;
    const remote = await neighbours.find(id, this.#whoOf(exchange));
    if (bodyOf(response).destroyed) return;
    if (remote === undefined || this.#sessions.has(id)) {
      this.#begin(exchange, wrapping);
      return;
    }
    // One frame, also where the transport could take more: its client asks again, perhaps where the session is.
    const receiver = new HttpReceiver(response, wrapping, this.#traffic[wrapping.kind]);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const frame = await remote.receive(gone.signal);
    if (frame === undefined) {
      cut(bodyOf(response));
      return;
    }
    const deadline: Expirable = { deadline: null, expire: () => receiver.destroy() };
    arm(deadline, frame.patience);
    response.once('close', () => disarm(deadline));
    receiver.whenWritten(() => frame.taken());
    receiver.send(frame.text);
    receiver.end();
  }

  /** Closes every session; later requests are refused. */
  close(code: number, reason: string): void {
    this.#isClosing = true;
    for (const [id, { session }] of this.#sessions) {
      session.close(code, reason);
      this.#neighbours?.release(id);
    }
    this.#sessions.clear();
    this.#perAddress.clear();
    this.#counted.clear();
  }

  #open(exchange: Exchange, wrapping: Wrapping): void {
    const { request, response, id } = exchange;
    const address = this.#addressOf(request);
    const ofAddress = this.#perAddress.get(address) ?? 0;
    if (this.#isClosing) {
      this.turnedAway.closing++;
      answer(response, 503, 'This instance is going away.');
      return;
    }
    if (this.#sessions.size >= this.#limits.maxSessions) {
      this.turnedAway.full++;
      answer(response, 503, 'Too many sessions.');
      return;
    }
    if (ofAddress >= this.#limits.maxSessionsPerAddress) {
      this.turnedAway.address++;
      answer(response, 429, 'Too many sessions from this address.');
      return;
    }

    const admission = new Admission(
      request,
      response,
      (status, body = '', headers = {}) => {
        for (const [name, value] of Object.entries(headers)) {
          if (value !== undefined) response.setHeader(name, value);
        }
        response.writeHead(status).end(body);
      },
      this.#rules,
      request.headers.origin,
      () => {
        const opened = (): void => this.#opened(exchange, wrapping, session, admission);
        if (this.#neighbours === undefined) opened();
        else this.#neighbours.claim(id).then(opened).catch(lost);
      },
      () => this.#forget(id),
    );
    const lost = (error: unknown): void => {
      this.#forget(id);
      fail(response, error);
      admission.tell(undefined, asError(error));
    };
    const protocol = exchange.query.get('protocol') ?? '';
    const session = new SockJsSession(
      wrapping.kind,
      this.#traffic[wrapping.kind],
      admission.attributes,
      protocol,
      this.#handler,
      this.#limits,
    );
    // Known from here on, so that a second request while an interceptor thinks is not a second session.
    this.#sessions.set(id, { session, who: credentialsOf(request, address, exchange.query) });
    this.#counted.set(session, address);
    this.#perAddress.set(address, ofAddress + 1);
    admission.begin();
  }

  #opened(exchange: Exchange, wrapping: Wrapping, session: SockJsSession, admission: Admission): void {
    const { request, response, id } = exchange;
    if (this.#isClosing || bodyOf(response).destroyed) {
      this.#forget(id);
      if (!bodyOf(response).destroyed) answer(response, 503, 'This instance is going away.');
      admission.tell(undefined, new HandshakeEndError('GONE', 'The client or this instance has gone'));
      return;
    }
    const receiver = new HttpReceiver(response, wrapping, this.#traffic[wrapping.kind]);
    receiver.bind(session);
    session.open(receiver, monotonicNow());
    this.#sweep.add(session, () => this.#forget(id));
    admission.tell(session, undefined);
    session.begin(request);
  }

  #forget(id: string): void {
    const known = this.#sessions.get(id);
    if (known === undefined) return;
    this.#sessions.delete(id);
    this.#neighbours?.release(id);
    this.#discount(known.session);
  }

  #discount(session: Transport): void {
    const address = this.#counted.get(session);
    if (address === undefined) return;
    this.#counted.delete(session);
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#perAddress.set(address, left);
    else this.#perAddress.delete(address);
  }
}
