/**
 * Keeps a connection: dials, watches the heartbeat, and dials again when it is lost. It knows nothing of
 * the frames but that text goes both ways; `Client` gives them their meaning.
 */
import { CloseCode } from '../push/talk/wire.ts';
import type { CloseEvent, ConnectionState } from './events.ts';
import { Heartbeat, MAX_DELAY } from './heartbeat.ts';
import type { ConnectOptions, TicketSource } from './options.ts';
import { reconnectDelay } from './reconnect.ts';
import { Renewal } from './renewal.ts';
import type { Transport, TransportFactory } from './transport.ts';
import { isHidden, onWake } from './wake.ts';

/** Milliseconds that a connection must answer within when the page wakes up or the network has changed. */
const WAKE_PATIENCE = 5_000;
/** Milliseconds after which a hidden tab gives up a connection that is scarce. */
const HIDDEN_PATIENCE = 10_000;

/** What a connection asks of its client. */
export interface ConnectionUser {
  /** The way is open: greet. The client calls `established` once the server has answered. */
  opened(): void;
  received(data: unknown): void;
  /** Send a ping now. */
  ping(): void;
  /** The page may be about to end. */
  leave(): void;
  state(state: ConnectionState): void;
  closed(event: CloseEvent): void;
  heartbeat(roundTrip: number | undefined): void;
  /** There is a new ticket for this session. */
  renew(ticket: string): void;
  /** A ticket could not be had, or an attempt not even begin. */
  failed(error: Error): void;
}

export class Connection {
  readonly #options: ConnectOptions;
  readonly #factory: TransportFactory;
  readonly #protocols: string[];
  readonly #url: URL;
  #ticket: TicketSource;
  /** The server refused a ticket, and the page's function was asked for another: no third one. */
  #isSecondTicket = false;
  /** Greeted in a wrong name, and again at once: not twice in a row. */
  #hasRedialled = false;
  readonly #user: ConnectionUser;
  #state: ConnectionState = { name: 'closed', code: 1000, reason: '' };
  #transport: Transport | undefined;
  #heartbeat: Heartbeat | undefined;
  readonly #renewal = new Renewal(() => this.#renew());
  #unwake: (() => void) | undefined;
  /** Counts attempts, so that what comes late from an earlier one is known. */
  #turn = 0;
  /** Tries in a row that have failed. */
  #attempt = 0;
  /** Of the retry while waiting, of the connect timeout while connecting. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When this attempt began. */
  #opened = 0;
  /** Of a hidden tab. */
  #hiding: ReturnType<typeof setTimeout> | undefined;
  /** Of the server's wish that the page leaves. */
  #leaving: ReturnType<typeof setTimeout> | undefined;

  constructor(
    options: ConnectOptions,
    url: URL,
    protocols: string[],
    factory: TransportFactory,
    user: ConnectionUser,
  ) {
    this.#options = options;
    this.#ticket = options.ticket;
    this.#url = url;
    this.#protocols = protocols;
    this.#factory = factory;
    this.#user = user;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get isConnected(): boolean {
    return this.#state.name === 'connected';
  }

  /** Does nothing if it is connected or about to be. */
  connect(): void {
    if (this.isConnected || this.#state.name === 'connecting') return;
    this.#unwake ??= onWake({
      wake: () => this.#wake(),
      leave: () => {
        this.#user.leave();
        this.#hide();
      },
    });
    this.#isSecondTicket = false;
    this.#open();
  }

  /** Where there is a connection it goes on with this one; where there is none yet that is welcome, this is an attempt. */
  setTicket(ticket: TicketSource): void {
    this.#ticket = ticket;
    if (this.isConnected) this.#renew();
    if (this.#state.name === 'connecting') this.#end(1000, '');
    if (this.#state.name !== 'closed' && !this.isConnected) this.#open();
  }

  /** A hidden tab has something to say. */
  resume(): void {
    if (this.#state.name === 'paused') this.#open();
  }

  close(code: number, reason: string): void {
    if (this.#state.name === 'closed') return;
    this.#end(code, reason);
    this.#finish(code, reason);
  }

  send(text: string): void {
    try {
      this.#transport?.send(text);
    } catch (error) {
      this.lost(1006, String(error));
    }
  }

  /** The server has answered a ping. */
  answered(): void {
    this.#heard(true);
  }

  /** The session ends in so many milliseconds; undefined: not by itself. */
  endsIn(left: number | undefined): void {
    if (typeof this.#ticket === 'function') this.#renewal.begin(left);
  }

  /** The server has answered: connected. Times are the server's wishes; the page's options come first. */
  established(interval?: number, timeout?: number): void {
    this.alive(interval, timeout);
    this.#attempt = 0;
    this.#hasRedialled = false;
    this.#setState({ name: 'connected' });
    if (isHidden()) this.#hide();
  }

  /** The server is there, though perhaps not ready: from here on the heartbeat judges it, not the connect timeout. */
  alive(interval = 60_000, timeout = 60_000): void {
    if (this.isConnected) return;
    this.#isSecondTicket = false;
    clearTimeout(this.#timer);
    this.#heartbeat?.stop();
    const wishes = this.#options.heartbeat;
    this.#heartbeat = new Heartbeat(
      wishes?.interval ?? interval,
      wishes?.timeout ?? timeout,
      () => {
        this.#user.ping();
        this.#user.heartbeat(undefined);
      },
      () => this.lost(CloseCode.HEARTBEAT_TIMEOUT, 'heartbeat timeout'),
    );
  }

  /** Dials anew at once and without a word to the page: it was greeted in a wrong name. */
  redial(): void {
    if (this.#hasRedialled) {
      this.lost(1000, 'the server calls the user by another name each time');
      return;
    }
    this.#hasRedialled = true;
    this.#end(1000, '');
    this.#open();
  }

  /** The server is going: leave at a random moment within `window` ms, greeted by then or not. */
  drain(window: number): void {
    clearTimeout(this.#leaving);
    this.#leaving = setTimeout(
      () => this.lost(CloseCode.DRAIN, 'draining', 0),
      Math.random() * Math.min(window, MAX_DELAY),
    );
  }

  /** @param delay milliseconds until the next attempt. Default: by the `reconnect` option */
  lost(code: number, reason: string, delay?: number): void {
    this.#end(code, reason);
    // The ticket may just have expired, and a function knows newer ones.
    const isTicketOver = code === CloseCode.NOT_AUTHENTICATED && typeof this.#ticket === 'function';
    const again = isTicketOver && !this.#isSecondTicket;
    if (isTicketOver) this.#isSecondTicket = true;
    const turn = this.#turn;
    const attempt = this.#attempt + 1;
    const options = this.#options.reconnect ?? {};
    const wait = delay ?? reconnectDelay(options, attempt, again ? 1006 : code, Math.random());
    if (wait === undefined) {
      this.#finish(code, reason);
      return;
    }
    if (delay === undefined) this.#attempt = attempt;
    this.#timer = setTimeout(() => this.#open(), wait);
    const until = Date.now() + wait;
    this.#setState({ name: 'waiting', attempt: this.#attempt, delay: wait, until, code, reason });
    if (turn === this.#turn) this.#user.closed({ code, reason, willReconnect: true });
  }

  #open(): void {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    this.#opened = Date.now();
    this.#timer = setTimeout(
      () => this.lost(CloseCode.HEARTBEAT_TIMEOUT, 'no welcome from the server in time'),
      this.#options.connectTimeout ?? 15_000,
    );
    this.#setState({ name: 'connecting', attempt: this.#attempt });
    this.#dial(turn).catch((error: unknown) => {
      if (turn !== this.#turn) return;
      this.#user.failed(asError(error));
      if (turn === this.#turn) this.lost(1006, String(error));
    });
  }

  async #dial(turn: number): Promise<void> {
    const { ticketParameter } = this.#options;
    const value = await this.#askTicket();
    if (turn !== this.#turn) return;
    const url = new URL(this.#url);
    const protocols = [...this.#protocols];
    if (value && ticketParameter !== undefined) url.searchParams.set(ticketParameter, value);
    else if (value) protocols.push(`ticket.${value}`);
    this.#transport = this.#factory(url.href, protocols, {
      open: () => {
        if (turn === this.#turn) this.#user.opened();
      },
      message: (data) => {
        if (turn !== this.#turn) return;
        this.#heard(false);
        if (turn === this.#turn) this.#user.received(data);
      },
      close: (code, reason) => {
        if (turn !== this.#turn) return;
        this.#transport = undefined;
        this.lost(code, reason);
      },
    });
  }

  async #askTicket(): Promise<string | null | undefined> {
    const ticket = this.#ticket;
    return typeof ticket === 'function' ? ticket() : ticket;
  }

  async #renew(): Promise<void> {
    const turn = this.#turn;
    try {
      const ticket = await this.#askTicket();
      if (turn === this.#turn && ticket) this.#user.renew(ticket);
    } catch (error) {
      if (turn === this.#turn) this.#user.failed(asError(error));
    }
  }

  #end(code: number, reason: string): void {
    this.#turn++;
    clearTimeout(this.#timer);
    clearTimeout(this.#leaving);
    clearTimeout(this.#hiding);
    this.#heartbeat?.stop();
    this.#heartbeat = undefined;
    this.#renewal.begin();
    const transport = this.#transport;
    this.#transport = undefined;
    try {
      transport?.close(code, reason);
    } catch {
      // It is given up, whatever it says.
    }
  }

  #finish(code: number, reason: string): void {
    this.#unwake?.();
    this.#unwake = undefined;
    this.#attempt = 0;
    const turn = this.#turn;
    this.#setState({ name: 'closed', code, reason });
    if (turn === this.#turn) this.#user.closed({ code, reason, willReconnect: false });
  }

  #wake(): void {
    clearTimeout(this.#hiding);
    const { name } = this.#state;
    if (name === 'waiting' || (name === 'paused' && !isHidden())) this.#open();
    else if (this.#heartbeat !== undefined) {
      this.#heartbeat.probe(WAKE_PATIENCE);
      this.#renewal.look();
    } else if (name === 'connecting' && Date.now() - this.#opened > WAKE_PATIENCE) {
      // It may have begun in another network, or before the machine slept.
      this.#end(1000, '');
      this.#open();
    }
  }

  /** Nobody sees the page: others may need the connection more. Nothing is lost, as its positions stay. */
  #hide(): void {
    clearTimeout(this.#hiding);
    if (!this.#transport?.isScarce || this.#protocols.length === 0) return;
    this.#hiding = setTimeout(() => {
      if (!this.isConnected || !isHidden()) return;
      this.#user.leave();
      this.#end(1000, 'hidden');
      this.#setState({ name: 'paused' });
    }, HIDDEN_PATIENCE);
  }

  #heard(isPong: boolean): void {
    const roundTrip = this.#heartbeat?.heard(isPong);
    if (roundTrip !== undefined) this.#user.heartbeat(roundTrip);
  }

  #setState(state: ConnectionState): void {
    this.#state = state;
    this.#user.state(state);
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
