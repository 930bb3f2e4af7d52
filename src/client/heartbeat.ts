/**
 * Notices a connection that died without a word: after `interval` of silence it pings, and after `timeout`
 * more it gives up. One timer, which messages never touch: it looks at the time of the last one when it fires.
 */

/** Milliseconds: the longest that a timer can wait. */
export const MAX_DELAY = 2 ** 31 - 1;

export type Heartbeat = ReturnType<typeof startHeartbeat>;

/** @param interval milliseconds; 0 turns it off, but for probes */
export function startHeartbeat(interval: number, timeout: number, ping: () => void, dead: () => void) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = Date.now();
  /** When the ping went out that nothing has answered yet; 0: there is none. */
  let pinged = 0;
  /** Milliseconds without a word that end a probe; 0: there is none. */
  let probing = 0;

  const arm = (delay: number): void => {
    clearTimeout(timer);
    if (interval > 0 || probing) timer = setTimeout(check, Math.min(delay, MAX_DELAY));
  };
  const ask = (patience: number): void => {
    pinged = Date.now();
    arm(patience);
    ping();
  };
  const check = (): void => {
    const silence = Date.now() - last;
    if (pinged) dead();
    else if (silence >= interval) ask(timeout);
    // The clock may have been set back meanwhile: never wait for more than the interval.
    else arm(Math.min(interval, interval - silence));
  };
  arm(interval);

  return {
    /**
     * Something came from the server. Returns the milliseconds since the ping that it answers, if it does. While a
     * probe is out, only a `pong` answers it: what else comes may have come before the connection died, and lain here.
     */
    heard(isPong: boolean): number | undefined {
      last = Date.now();
      if (probing && !isPong) arm(probing);
      else if (pinged) {
        const roundTrip = last - pinged;
        pinged = probing = 0;
        arm(interval);
        return roundTrip;
      }
      return undefined;
    },

    /** The page woke up or the network changed: ask now, and wait no longer than `patience` ms for the answer. */
    probe(patience: number): void {
      if (probing) return;
      probing = patience;
      ask(patience);
    },

    stop: (): void => clearTimeout(timer),
  };
}
