/** Order: what is for the same channel is done one after the other, in the order in which it came. */

export class ChannelLanes {
  /** By channel: when the last one that was added is over. */
  readonly #ends = new Map<string, Promise<void>>();

  /**
   * Does `work` once all that was added before for any of these channels is over, whatever became of it.
   *
   * @param work never throws or rejects
   */
  add(channels: readonly string[], work: () => Promise<void>): void {
    const before = new Set<Promise<void>>();
    for (const channel of channels) {
      const end = this.#ends.get(channel);
      if (end !== undefined) before.add(end);
    }
    const end = before.size === 0 ? work() : Promise.all(before).then(work);
    for (const channel of channels) this.#ends.set(channel, end);
    void end.then(() => {
      for (const channel of channels) if (this.#ends.get(channel) === end) this.#ends.delete(channel);
    });
  }
}
