/** How far the write is that is under way, of which Node only says when all of it is done. */
import { Socket } from 'node:net';

interface Handle {
  readonly writeQueueSize?: number;
}

/**
 * Bytes of the write under way that the kernel has not taken; 0 where that can't be known. Node looks at the same
 * figure before it says that a socket has timed out, and has no public name for it.
 */
export function untaken(socket: unknown): number {
  if (!(socket instanceof Socket)) return 0;
  const handle = (socket as Socket & { _handle?: Handle | null })._handle;
  return handle?.writeQueueSize ?? 0;
}
