/** What a tab needs of its client. A list, as both may be scripts of their own, in which names are shortened otherwise. */
export type ClientTools = [
  askTicket: () => Promise<string | null | undefined>,
  /** There is no ticket: the client tells its page, and tries again later. */
  failed: (error: unknown) => void,
  /** The client dials anew, at once and without a word to the page. */
  again: () => void,
  /** Another number whenever another user may be behind the page. */
  who: number,
  /** From here on the client connects by itself. */
  alone: () => void,
  /** In whose name the page acknowledges: tabs share nothing with those that have another. */
  device: () => string | undefined,
];
