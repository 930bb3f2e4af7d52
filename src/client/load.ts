/** Where the code for tabs that share comes from: for tidings.js, which is one script, it is `load-script.ts` instead. */
import type { shareTransport } from './share/index.ts';

export const load = async (): Promise<typeof shareTransport> =>
  (await import('./share/index.ts')).shareTransport;
