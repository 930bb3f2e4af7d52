/**
 * Keeps a connection: dials, watches the heartbeat, and dials again when it is lost. It knows nothing of
 * the frames but that text goes both ways; `talk.ts` gives them their meaning.
 */
import { CloseCode } from '../push/talk/wire.ts';
import type { CloseEvent, ConnectionState } from './events.ts';
import { type Heartbeat, MAX_DELAY, startHeartbeat } from './heartbeat.ts';
import type { ConnectOptions, TicketSource } from './options.ts';
import { reconnectDelay } from './reconnect.ts';
import type { Transport, TransportFactory } from './transport.ts';
import { onWake } from './wake.ts';

/** Milliseconds that a connection must answer within when the page wakes up or the network has changed. */
const WAKE_PATIENCE = 5_000;

/** What a connection asks of its user. */
export interface ConnectionUser {
  /** The way is open: greet. `established` is called once the server has answered. */
  opened(): void;
  received(data: unknown): void;
  /** Send a ping now. */
  ping(): void;
  /** The page has woken up. */
  woke(): void;
  /** The page may be about to end. */
  leave(): void;
  changed(state: ConnectionState): void;
  closed(event: CloseEvent): void;
  heartbeat(roundTrip: number | undefined): void;
  /** A ticket could not be had, or an attempt not even begin. */
  failed(error: unknown): void;
}

type HeartbeatTimes = ConnectOptions['heartbeat'];

export type Connection = ReturnType<typeof createConnection>;

export function createConnection(
  options: ConnectOptions,
  url: URL,
  protocols: string[],
  factory: TransportFactory,
  user: ConnectionUser,
) {
  let { ticket } = options;
  let state: ConnectionState = { name: 'closed', code: 1000, reason: '' };
  /** The server refused a ticket, and the page's function was asked for another: no third one. */
  let isSecondTicket = false;
  /** Greeted in a wrong name, and again at once: not twice in a row. */
  let hasRedialled = false;
  let transport: Transport | undefined;
  let heartbeat: Heartbeat | undefined;
  let unwake: (() => void) | undefined;
  /** Counts attempts, so that what comes late from an earlier one is known. */
  let turn = 0;
  /** Tries in a row that have failed. */
  let attempt = 0;
  /** When this attempt began. */
  let opened = 0;
  /** Of the retry while waiting, of the connect timeout while connecting. */
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Of the server's wish that the page leaves. */
  let leaving: ReturnType<typeof setTimeout> | undefined;

  const is = (name: ConnectionState['name']): boolean => state.name === name;
  const isConnected = (): boolean => is('connected');
  const setState = (next: ConnectionState): void => {
    state = next;
    user.changed(next);
  };

  // ── tickets ──────────────────────────────────────────────────────────────────────────────────────────

  const askTicket = async (): Promise<string | null | undefined> =>
    typeof ticket === 'function' ? ticket() : ticket;

  // ── one attempt ──────────────────────────────────────────────────────────────────────────────────────

  const open = (): void => {
    clearTimeout(timer);
    const own = ++turn;
    opened = Date.now();
    timer = setTimeout(
      () => lost(CloseCode.HEARTBEAT_TIMEOUT, 'no welcome in time'),
      options.connectTimeout ?? 15_000,
    );
    setState({ name: 'connecting', attempt });
    dial(own).catch((error: unknown) => {
      if (own === turn) user.failed(error);
      if (own === turn) lost(1006, String(error));
    });
  };

  const dial = async (own: number): Promise<void> => {
    const { ticketParameter } = options;
    const value = factory.lazily ? undefined : await askTicket();
    if (own !== turn) return;
    const address = new URL(url);
    const offered = [...protocols];
    if (value && ticketParameter) address.searchParams.set(ticketParameter, value);
    else if (value) offered.push(`ticket.${value}`);
    transport = factory(address.href, offered, {
      open() {
        if (own === turn) user.opened();
      },
      message(data) {
        if (own === turn) heard(false);
        if (own === turn) user.received(data);
      },
      close(code, reason) {
        if (own !== turn) return;
        transport = undefined;
        lost(code, reason);
      },
    });
  };

  const heard = (isPong: boolean): void => {
    const roundTrip = heartbeat?.heard(isPong);
    if (roundTrip !== undefined) user.heartbeat(roundTrip);
  };

  /**
   * The server is there, though perhaps not ready: from here on the heartbeat judges it, not the connect timeout.
   * @param wishes the server's; the page's options come first
   */
  const alive = (wishes?: HeartbeatTimes): void => {
    if (isConnected()) return;
    isSecondTicket = false;
    clearTimeout(timer);
    heartbeat?.stop();
    const { interval = 60_000, timeout = 60_000 } = { ...wishes, ...options.heartbeat };
    heartbeat = startHeartbeat(
      interval,
      timeout,
      () => {
        user.ping();
        user.heartbeat(undefined);
      },
      () => lost(CloseCode.HEARTBEAT_TIMEOUT, 'heartbeat timeout'),
    );
  };

  // ── its end ──────────────────────────────────────────────────────────────────────────────────────────

  const end = (code: number, reason: string): void => {
    turn++;
    clearTimeout(timer);
    clearTimeout(leaving);
    heartbeat?.stop();
    heartbeat = undefined;
    const was = transport;
    transport = undefined;
    try {
      was?.close(code, reason);
    } catch {
      // It is given up, whatever it says.
    }
  };

  const again = (): void => {
    end(1000, '');
    open();
  };

  /** It has ended: told after the change of state, unless a listener of that has done something else. */
  const ended = (next: ConnectionState & { code: number; reason: string }): void => {
    const own = turn;
    setState(next);
    const { code, reason } = next;
    if (own === turn) user.closed({ code, reason, willReconnect: next.name === 'waiting' });
  };

  const finish = (code: number, reason: string): void => {
    unwake?.();
    unwake = undefined;
    attempt = 0;
    ended({ name: 'closed', code, reason });
  };

  /** @param delay milliseconds until the next attempt. Default: by the `reconnect` option */
  const lost = (code: number, reason: string, delay?: number): void => {
    end(code, reason);
    // The ticket may just have expired, and a function knows newer ones.
    const isTicketOver = code === CloseCode.NOT_AUTHENTICATED && typeof ticket === 'function';
    const isAgain = isTicketOver && !isSecondTicket;
    isSecondTicket ||= isTicketOver;
    const next = attempt + 1;
    const wait = delay ?? reconnectDelay(options.reconnect ?? {}, next, isAgain ? 1006 : code, Math.random());
    if (wait === undefined) {
      finish(code, reason);
      return;
    }
    if (delay === undefined) attempt = next;
    timer = setTimeout(open, wait);
    ended({ name: 'waiting', attempt, delay: wait, until: Date.now() + wait, code, reason });
  };

  // ── the page that it is of ───────────────────────────────────────────────────────────────────────────

  const wake = (): void => {
    if (is('waiting')) open();
    else if (heartbeat) heartbeat.probe(WAKE_PATIENCE);
    // It may have begun in another network, or before the machine slept.
    else if (is('connecting') && Date.now() - opened > WAKE_PATIENCE) again();
    user.woke();
  };

  return {
    state: (): ConnectionState => state,
    isConnected,
    transport: (): Transport | undefined => transport,
    open,
    alive,
    end,
    lost,
    setState,
    wake,
    askTicket,
    /** Counts attempts: another one than before is another connection. */
    turn: (): number => turn,
    /** Whether another ticket can be had. */
    hasTickets: (): boolean => typeof ticket === 'function',

    /** Does nothing if it is connected or about to be. */
    connect(): void {
      if (isConnected() || is('connecting')) return;
      unwake ??= onWake(wake, user.leave);
      isSecondTicket = false;
      open();
    },

    /** Where there is a connection it goes on; where there is none yet that is welcome, this is an attempt. */
    setTicket(next: TicketSource): void {
      ticket = next;
      if (!isConnected() && !is('closed')) again();
    },

    close(code: number, reason: string): void {
      if (is('closed')) return;
      end(code, reason);
      finish(code, reason);
    },

    send(text: string): void {
      try {
        transport?.send(text);
      } catch (error) {
        lost(1006, String(error));
      }
    },

    /** The server has answered a ping. */
    answered: (): void => heard(true),

    /** The server has answered: connected. */
    established(wishes?: HeartbeatTimes): void {
      alive(wishes);
      attempt = 0;
      hasRedialled = false;
      setState({ name: 'connected' });
    },

    /** Dials anew at once and without a word to the page: it was greeted in a wrong name. */
    redial(): void {
      if (hasRedialled) lost(1000, 'another user');
      else {
        hasRedialled = true;
        again();
      }
    },

    /** The server is going: leave at a random moment within `window` ms, greeted by then or not. */
    drain(window: number): void {
      clearTimeout(leaving);
      leaving = setTimeout(
        () => lost(CloseCode.DRAIN, 'draining', 0),
        Math.random() * Math.min(window, MAX_DELAY),
      );
    },
  };
}
