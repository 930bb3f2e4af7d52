/**
 * What time it is in the store, whose clock says when messages expire. Learned from messages as they come: each tells what
 * time it was there a moment ago. So what is known is never ahead of the store, unless our own clock was set since; who then
 * asks it too early asks again.
 */
export class StoreClock {
  /** Milliseconds by which it is ahead of ours, as far as is known. */
  #ahead = 0;

  /** A message has come that was stored just now. */
  heard(time: number): void {
    const ahead = time - Date.now();
    if (ahead > this.#ahead) this.#ahead = ahead;
  }

  /** Milliseconds until a moment of the store's; below 0 where it is over. */
  until(moment: number): number {
    return moment - Date.now() - this.#ahead;
  }
}
